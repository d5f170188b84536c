//! `countersign prompts`: what callers hear, who says it, and recordings of your own.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use countersign_core::prompt::Lang;
use countersign_server::{
    config::Config,
    demo,
    i18n::{Company, Line, Texts},
    prompts::{self, Origin, Set, Source, sources, wave},
    telephony::sip::voice::Voice,
};
use countersign_sip::g711::Law;

use crate::{
    Failure,
    term::{self, BAD, DIM, GOOD, STRONG, WARN, good},
};

/// `prompts`.
#[derive(clap::Subcommand)]
pub enum PromptsCommand {
    /// Everything that is said, how long it is, and who says it
    List {
        #[command(flatten)]
        of: Of,
        /// Only one language: en, es or de
        #[arg(long, value_parser = lang)]
        lang: Option<Lang>,
        /// Only what nothing says as it is written
        #[arg(long)]
        missing: bool,
    },
    /// Whether a set of recordings is whole, fits a telephone line and says what is written
    Check {
        /// Its folder; that of the configuration if left out, and without one the set that comes with us
        folder: Option<PathBuf>,
        #[command(flatten)]
        of: Of,
    },
    /// Take recordings into a set: WAV files en/ID.wav or en-ID.wav, 8 to 48 kHz
    Import {
        /// The files, or folders with them
        #[arg(required = true)]
        from: Vec<PathBuf>,
        /// The folder of the set; that of the configuration if left out. A new one is made
        #[arg(long)]
        into: Option<PathBuf>,
        /// Who speaks, or which program and voice: kept in the set
        #[arg(long, default_value = "not said")]
        made_by: String,
        /// What may be done with the recordings: kept in the set
        #[arg(long, default_value = "not said")]
        licence: String,
        /// A name for whom these come from, in the set
        #[arg(long, default_value = "own")]
        origin: String,
        /// Keep them in mu-law: half the size, for lines that speak it
        #[arg(long)]
        mu_law: bool,
        /// Read and check everything, write nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        of: Of,
    },
    /// Write the set that comes with us into a new folder
    Export {
        /// The new folder
        to: PathBuf,
    },
    /// What a speaker has to read: a name for each file, and its words
    Script {
        #[command(flatten)]
        of: Of,
        /// Only one language: en, es or de
        #[arg(long, value_parser = lang)]
        lang: Option<Lang>,
        /// Only what nothing says as it is written
        #[arg(long)]
        missing: bool,
        /// A line of JSON each, for programs
        #[arg(long)]
        json: bool,
    },
    /// Write a message as callers hear it into a WAV file, with values that are made up
    Say {
        /// The message, such as menu or approve-in-portal
        id: String,
        /// The language: en, es or de
        #[arg(long, value_parser = lang, default_value = "en")]
        lang: Lang,
        /// The file
        #[arg(long)]
        to: PathBuf,
        #[command(flatten)]
        of: Of,
    },
}

/// Whose words.
#[derive(clap::Args)]
pub struct Of {
    /// The configuration file; without it countersign.toml, if there is one, and otherwise the demo's company
    #[arg(long)]
    config: Option<PathBuf>,
}

fn lang(text: &str) -> Result<Lang, String> { Lang::parse(text).ok_or_else(|| "write en, es or de".into()) }

/// A company's words and what speaks them.
struct Speaking {
    texts: Texts,
    script: Vec<Line>,
    folder: Option<PathBuf>,
    own: Option<Set>,
    speech: Vec<String>,
}

impl Of {
    fn speaking(&self) -> Result<Speaking, Failure> {
        const USUAL: &str = "countersign.toml";
        let path = self.config.as_deref().or_else(|| Some(Path::new(USUAL)).filter(|path| path.exists()));
        let config = path.map(Config::read).transpose()?;
        let texts = match &config {
            Some(config) => {
                let company = Company { name: config.company.name.clone(), fraud_line: config.company.fraud_line.clone(), link_base: config.listen.public_url.clone() };
                Texts::with_words(company, config.company.words.as_deref())?
            }
            None => Texts::load(demo::company("http://127.0.0.1"))?,
        };
        let sip = config.and_then(|config| config.sip);
        let (folder, speech) = sip.map(|sip| (sip.prompts, sip.speech)).unwrap_or_default();
        let own = match &folder {
            Some(folder) if folder.join(prompts::MANIFEST).exists() => Some(Set::list(folder)?),
            _ => None,
        };
        Ok(Speaking { script: texts.script(), texts, folder, own, speech })
    }
}

impl Speaking {
    fn sources(&self) -> Vec<Source> { sources(&self.script, self.own.as_ref(), !self.speech.is_empty()) }

    /// The lines that were asked for, with who says them.
    fn lines(&self, lang: Option<Lang>, missing: bool) -> Vec<(&Line, Source)> {
        let all = self.script.iter().zip(self.sources());
        all.filter(|(line, source)| lang.is_none_or(|lang| line.lang == lang) && (!missing || source.is_missing())).collect()
    }
}

/// Does what was asked for.
pub async fn run(command: PromptsCommand) -> Result<ExitCode, Failure> {
    match command {
        PromptsCommand::List { of, lang, missing } => list(&of.speaking()?, lang, missing),
        PromptsCommand::Check { folder, of } => check(&of.speaking()?, folder.as_deref()),
        PromptsCommand::Import { from, into, made_by, licence, origin, mu_law, dry_run, of } => {
            let speaking = of.speaking()?;
            let into = into.or_else(|| speaking.folder.clone()).ok_or("say where the set is: --into FOLDER, or sip.prompts in the configuration")?;
            import(&speaking.script, &from, &into, (&origin, Origin { made_by, licence }), mu_law, dry_run)
        }
        PromptsCommand::Export { to } => {
            Set::shipped().export(&to)?;
            good(&format!("{} recordings are in {}.", Set::shipped().list.recordings.len(), to.display()));
            Ok(ExitCode::SUCCESS)
        }
        PromptsCommand::Script { of, lang, missing, json } => {
            script(&of.speaking()?.lines(lang, missing), json);
            Ok(ExitCode::SUCCESS)
        }
        PromptsCommand::Say { id, lang, to, of } => say(of.speaking()?, &id, lang, &to).await,
    }
}

fn list(speaking: &Speaking, lang: Option<Lang>, missing: bool) -> Result<ExitCode, Failure> {
    let lines = speaking.lines(lang, missing);
    let width = lines.iter().map(|(line, _)| line.id.len()).max().unwrap_or(0).max(4);
    let wide = lines.iter().map(|(_, source)| source.name().len()).max().unwrap_or(0).max(6);
    if !lines.is_empty() {
        anstream::println!("{STRONG}{:<width$}  lang  seconds  {:<wide$}  text{STRONG:#}", "name", "source");
    }
    for (line, source) in &lines {
        let set = match source {
            Source::Own => speaking.own.as_ref(),
            Source::Shipped => Some(Set::shipped()),
            _ => None,
        };
        let length = set.and_then(|set| set.length(line.lang, &line.text)).map(|length| format!("{:.2}", length.as_secs_f64())).unwrap_or_default();
        let style = match source { Source::Own => GOOD, Source::Program | Source::Shipped => DIM, _ => WARN };
        anstream::println!("{:<width$}  {:<4}  {length:>7}  {style}{:<wide$}{style:#}  {}", line.id, line.lang.code(), source.name(), line.text);
    }
    let lost = speaking.sources().iter().filter(|source| source.is_missing()).count();
    if lost == 0 {
        good(&format!("{} things to be said, and something says each.", speaking.script.len()));
    } else {
        anstream::println!("\n{WARN}{lost} of {}{WARN:#} are not said as they are written: record them, or name a program in sip.speech.", speaking.script.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn check(speaking: &Speaking, folder: Option<&Path>) -> Result<ExitCode, Failure> {
    let read;
    let set = match folder.or(speaking.folder.as_deref()) {
        Some(folder) => {
            read = Set::list(folder)?;
            &read
        }
        None => Set::shipped(),
    };
    // Ours says the demo's company's name, whosever words are asked about.
    let script = if set.folder.is_none() { Texts::load(demo::company("http://127.0.0.1"))?.script() } else { speaking.script.clone() };
    let problems = prompts::check(set, &script);
    let width = problems.iter().map(|problem| problem.id.len()).max().unwrap_or(0);
    for problem in &problems {
        anstream::println!("{BAD}{}{BAD:#}  {STRONG}{:<width$}{STRONG:#}  {}", problem.lang.code(), problem.id, problem.text);
    }
    let lost: Vec<_> = script.iter().zip(sources(&script, Some(set), !speaking.speech.is_empty())).filter(|(_, source)| source.is_missing()).collect();
    for (line, source) in &lost {
        anstream::println!("{WARN}{}{WARN:#}  {STRONG}{}{STRONG:#}  {}: {}", line.lang.code(), line.id, source.name(), line.text);
    }
    let what = set.folder.as_ref().map_or_else(|| "the set that comes with us".to_owned(), |folder| folder.display().to_string());
    if problems.is_empty() && lost.is_empty() {
        good(&format!("{what}: {} recordings, and nothing is wrong with them.", set.list.recordings.len()));
        return Ok(ExitCode::SUCCESS);
    }
    anstream::println!("\n{} wrong, {} missing in {what}.", problems.len(), lost.len());
    // What is missing is said otherwise: a set is sound without it.
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn import(script: &[Line], from: &[PathBuf], into: &Path, (name, origin): (&str, Origin), mu_law: bool, dry_run: bool) -> Result<ExitCode, Failure> {
    let found = prompts::find(from)?;
    if found.is_empty() {
        return Err("there is no WAV file in it".into());
    }
    let bar = term::bar("recordings");
    bar.set_length(found.len() as u64);
    let (mut prepared, mut refused, mut mixed) = (Vec::new(), Vec::new(), Vec::new());
    for given in &found {
        match prompts::prepare(given, script, name, mu_law) {
            Ok(one) => {
                if one.mixed {
                    mixed.push(given.path.display().to_string());
                }
                prepared.push(one);
            }
            Err(e) => refused.push(e.to_string()),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    for path in &mixed {
        anstream::println!("{WARN}note{WARN:#}  {path} has two channels: they were made one");
    }
    if !refused.is_empty() {
        for why in &refused {
            anstream::eprintln!("{BAD}refused{BAD:#}  {why}");
        }
        return Err(format!("{} of {} files cannot be taken: nothing was written", refused.len(), found.len()).into());
    }
    if dry_run {
        good(&format!("{} recordings would go into {}. Nothing was written.", prepared.len(), into.display()));
        return Ok(ExitCode::SUCCESS);
    }
    prompts::commit(into, &prepared, name, origin)?;
    good(&format!("{} recordings are in {}.", prepared.len(), into.display()));
    Ok(ExitCode::SUCCESS)
}

fn script(lines: &[(&Line, Source)], json: bool) {
    for (line, _) in lines {
        if json {
            anstream::println!("{}", serde_json::json!({ "lang": line.lang.code(), "id": line.id, "text": line.text }));
        } else {
            anstream::println!("{}/{}.wav\t{}", line.lang.code(), line.id, line.text);
        }
    }
}

async fn say(speaking: Speaking, id: &str, lang: Lang, to: &Path) -> Result<ExitCode, Failure> {
    let said = speaking.texts.sample(lang, id).ok_or_else(|| format!("there is no message {id:?}: menu is one, and `countersign prompts list` begins with their names"))?;
    let own = speaking.folder.as_deref().map(Set::read).transpose()?;
    let voice = Voice::new(own, speaking.speech);
    voice.warm().await;
    let samples: Vec<i16> = voice.say(&said).await.iter().flat_map(|clip| clip.bytes(Law::Mu).iter().map(|byte| Law::Mu.decode(*byte)).collect::<Vec<_>>()).collect();
    std::fs::write(to, wave::written(&samples, false)).map_err(|e| format!("{}: {e}", to.display()))?;
    anstream::println!("{DIM}{}{DIM:#}", said.text);
    good(&format!("{:.1} s are in {}.", samples.len() as f64 / 8_000.0, to.display()));
    Ok(ExitCode::SUCCESS)
}

//! `countersign call`: a small telephone for the terminal.

use std::{
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use countersign_server::{
    config::read_secret,
    prompts::{Set, wave},
};
use countersign_sip::{
    Clip,
    caller::{CallError, Line, Phone, PhoneSettings, Recogniser},
    clip::RATE,
    g711::Law,
};

use crate::{
    Failure,
    term::{DIM, GOOD, STRONG, WARN, good},
};

/// The most that is kept for `--record`: an hour.
const LONGEST: usize = 3_600 * RATE;
/// The largest file that is said into the line, in bytes: a minute at 48,000 samples a second.
const LARGEST: u64 = 6 << 20;

/// `call`.
#[derive(clap::Args)]
pub struct Args {
    /// Whom: sip:+12025550100@127.0.0.1:5060
    to: String,
    /// The number that is shown
    #[arg(long, default_value = "+12025550199")]
    from: String,
    /// The address of this machine that the other side can reach
    #[arg(long, default_value = "127.0.0.1")]
    ip: IpAddr,
    /// Prefer A-law
    #[arg(long)]
    a_law: bool,
    /// The name for a telephone that has to give one; the password is in COUNTERSIGN_SIP_PASSWORD
    #[arg(long)]
    user: Option<String>,
    /// Recordings that the other side plays, besides those that come with us: they are shown as text
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Write what is heard into this WAV file
    #[arg(long)]
    record: Option<PathBuf>,
}

/// Calls, sends what is typed as keys, says what is typed as `@FILE`, and shows what is heard: recordings that it knows as text.
pub async fn run(args: Args) -> Result<ExitCode, Failure> {
    if !is_address(&args.to) {
        return Err(format!("{} is no SIP address: write sip:NUMBER@HOST:PORT, such as sip:+12025550100@127.0.0.1:5060", args.to).into());
    }
    let mut settings = PhoneSettings::new(args.ip, &args.from);
    if args.a_law {
        settings.law = Law::A;
    }
    if let Some(user) = args.user {
        let password = read_secret("COUNTERSIGN_SIP_PASSWORD", None)?.ok_or("set COUNTERSIGN_SIP_PASSWORD")?;
        settings.password = Some((user, password.expose().to_owned()));
    }
    let mut known = Vec::new();
    if let Some(folder) = &args.prompts {
        known.extend(Set::read(folder)?.all()?);
    }
    known.extend(Set::shipped().all()?);
    let mut known: Vec<_> = known.into_iter().map(|(row, clip)| (row.text, clip)).collect();
    // "2" and "dos" may sound alike: keys and codes are what is listened for.
    known.sort_by_key(|(text, _)| text.chars().count() > 1);
    let phone = Phone::start(settings).await?;
    anstream::println!("{DIM}Calling {} as {} …{DIM:#}", args.to, args.from);
    let began = Instant::now();
    let line = phone.call(&args.to).await.map_err(|e| refused(e, &args.to))?;
    anstream::println!("{STRONG}Answered{STRONG:#} {DIM}after {:.1} s. Type keys and a line end, or @FILE to say a WAV file; an empty line hangs up.{DIM:#}", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let mut talk = Talk { known, recogniser: None, spelled: false, saying: None, tones: 0, record: args.record.is_some(), heard: Vec::new(), keys: 0 };
    let ended = talk.go(&line).await;
    let heard = line.ear(Clone::clone);
    let seconds = began.elapsed().as_secs();
    let sound = if heard.packets == 0 {
        "no sound came".to_owned()
    } else {
        format!("{} packets of sound, {} lost, 99 of 100 within {} ms", heard.packets, heard.lost, heard.gap_p99())
    };
    anstream::println!("{DIM}{}:{:02} min, {} keys sent, {sound}{DIM:#}", seconds / 60, seconds % 60, talk.keys);
    if !ended {
        line.hang_up().await;
    }
    if let Some(path) = &args.record {
        let level = wave::Heard::of(&talk.heard);
        std::fs::write(path, wave::written(&talk.heard, false)).map_err(|e| format!("{}: {e}", path.display()))?;
        let loud = if level.span.is_some() { format!("speech at {:.0} dBFS, peak {:.0}", level.speech, level.peak) } else { "nothing to hear".into() };
        anstream::println!("{DIM}{:.1} s in {}: {loud}{DIM:#}", talk.heard.len() as f64 / RATE as f64, path.display());
    }
    good("The call is over.");
    Ok(ExitCode::SUCCESS)
}

/// Whether this is `sip:` or `sips:` with a host behind it (RFC 3261 §19.1.1).
fn is_address(to: &str) -> bool {
    let rest = to.strip_prefix("sip:").or_else(|| to.strip_prefix("sips:"));
    rest.map(|rest| rest.rsplit_once('@').map_or(rest, |(_, host)| host)).is_some_and(|host| !host.is_empty())
}

/// A call that did not come about, in words: the code alone tells a person little.
fn refused(error: CallError, to: &str) -> Failure {
    match error {
        CallError::Silence | CallError::Refused { code: 408, .. } => format!("nobody answers at {to}: is a telephone system running there, on this port?").into(),
        CallError::Refused { code: 401 | 403 | 407, .. } => format!("{to} does not take calls from here: it may want --user and COUNTERSIGN_SIP_PASSWORD, or not know this address").into(),
        CallError::Refused { code: 404, .. } => format!("{to}: there is nobody of that name or number").into(),
        CallError::Refused { code: 486 | 600, .. } => format!("{to} is busy").into(),
        other => other.into(),
    }
}

struct Talk {
    known: Vec<(String, std::sync::Arc<countersign_sip::Clip>)>,
    recogniser: Option<(Law, Recogniser<String>)>,
    /// The last thing shown was a digit or letter, and the line is open.
    spelled: bool,
    /// Until when something is said into the line.
    saying: Option<Instant>,
    /// How many tones were shown: after one the other side listens.
    tones: u64,
    record: bool,
    heard: Vec<i16>,
    keys: usize,
}

/// Silence after what is said.
const PAUSE: Duration = Duration::from_secs(1);

/// A WAV file as it goes over the line.
fn recording(path: &str) -> Result<std::sync::Arc<Clip>, Failure> {
    if std::fs::metadata(path)?.len() > LARGEST {
        return Err("too large: a minute of sound is the most".into());
    }
    let wave = wave::Wave::read(&std::fs::read(path)?)?;
    Ok(Clip::from_samples(wave::resampled(&wave.samples, wave.rate))?)
}

impl Talk {
    /// Whether the other side ended it.
    async fn go(&mut self, line: &Line) -> bool {
        let (sender, mut keys) = tokio::sync::mpsc::channel(1);
        // Input that blocks has a thread of its own, and the process does not wait for it.
        std::thread::spawn(move || {
            for typed in std::io::stdin().lines().map_while(Result::ok) {
                if sender.blocking_send(typed).is_err() {
                    return;
                }
            }
        });
        // A pause between two sentences is no silence yet.
        const SILENT: Duration = Duration::from_secs(1);
        let (mut sounding, mut last_sound) = (false, Instant::now());
        loop {
            tokio::select! {
                typed = keys.recv() => match typed {
                    Some(typed) if typed.starts_with('@') => self.say(line, typed.trim_start_matches('@').trim()),
                    Some(typed) if !typed.trim().is_empty() => {
                        if line.press(typed.trim()).await {
                            self.keys += typed.trim().chars().count();
                        } else {
                            self.line(format_args!("{WARN}The other side takes no keys, or these are none: 0 to 9, star and hash.{WARN:#}"));
                        }
                    }
                    _ => return false,
                },
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    if line.ear(|ear| !ear.is_silent() && ear.packets > 0) {
                        last_sound = Instant::now();
                    }
                    let now = line.ear(|ear| ear.packets > 0) && last_sound.elapsed() < SILENT;
                    if now != sounding {
                        self.line(format_args!("{DIM}{}{DIM:#}", if now { "… something is heard" } else { "… silence" }));
                        sounding = now;
                    }
                    if self.saying.is_some_and(|until| Instant::now() >= until) {
                        line.speak(None);
                        self.saying = None;
                    }
                    let tones = line.ear(|ear| ear.tones);
                    // What was said before a tone stands before it.
                    self.listen(line);
                    for _ in self.tones..tones {
                        self.line(format_args!("{DIM}… a tone{DIM:#}"));
                    }
                    self.tones = tones;
                    let said = line.said();
                    if let Some(to) = said.refer {
                        self.line(format_args!("The other side transfers us to {to}."));
                        return false;
                    }
                    if said.ended {
                        self.line(format_args!("The other side hung up."));
                        return true;
                    }
                }
            }
        }
    }

    /// Says a recording into the line, once.
    fn say(&mut self, line: &Line, path: &str) {
        match recording(path) {
            Ok(clip) => {
                let length = clip.duration();
                self.line(format_args!("{DIM}… saying {path}, {:.1} s{DIM:#}", length.as_secs_f64()));
                // A clip is said over and over: there is a second of silence at its end to stop it in.
                self.saying = Some(Instant::now() + length + PAUSE / 2);
                line.speak(Some(clip.followed_by_silence(PAUSE)));
            }
            Err(why) => self.line(format_args!("{WARN}{path}: {why}{WARN:#}")),
        }
    }

    /// Shows the recordings among what came.
    fn listen(&mut self, line: &Line) {
        let (bytes, Some(law)) = (line.take(), line.ear(|ear| ear.law)) else { return };
        if self.record && self.heard.len() < LONGEST {
            self.heard.extend(bytes.iter().map(|byte| law.decode(*byte)));
        }
        if self.recogniser.as_ref().is_none_or(|(of, _)| *of != law) {
            self.recogniser = Some((law, Recogniser::new(self.known.iter().cloned(), law)));
        }
        let Some((_, recogniser)) = &mut self.recogniser else { return };
        for text in recogniser.hear(&bytes) {
            // Digits stand in a row, as they are said.
            if text.chars().count() == 1 {
                anstream::print!("{}{STRONG}{text}{STRONG:#}", if self.spelled { " " } else { "  " });
                self.spelled = true;
                let _ = std::io::Write::flush(&mut std::io::stdout());
            } else {
                self.line(format_args!("  {GOOD}{text}{GOOD:#}"));
            }
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        if std::mem::take(&mut self.spelled) {
            anstream::println!();
        }
        anstream::println!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_called_is_seen_before_anything_is_sent() {
        for good in ["sip:+12025550100@127.0.0.1:5060", "sips:desk@calls.example.com", "sip:127.0.0.1:5060"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["foo", "", "sip:", "sip:1@", "tel:+12025550100", "+12025550100"] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn a_call_that_nobody_answers_says_so() {
        let said = |code| refused(CallError::Refused { code, headers: Vec::new() }, "sip:1@127.0.0.1:5999").to_string();
        assert!(said(408).contains("nobody answers at sip:1@127.0.0.1:5999"));
        assert!(said(486).contains("busy"));
        assert_eq!(said(503), "refused with 503", "what has no words of its own keeps its code");
    }
}

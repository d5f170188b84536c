//! Customers from files, and people at the desk.

use std::{io::IsTerminal as _, path::Path, process::ExitCode, sync::Arc};

use countersign_core::{
    account::{Access, Authenticator, Contact, ContactKind, Material, Order, Profile},
    action::Role,
    claim::{ClaimKind, normalise},
    factor::{Algorithm, FactorKind, Otp, WordHash, WordRule},
    id::{AccountId, AuthenticatorId, ContactId},
    prompt::Lang,
    secret::{E164, Secret},
    time::{Span, Timestamp},
};
use countersign_server::{
    agents::Agents,
    config::Config,
    directory::mailbox,
    record::{self, AccountEvent},
    runner::Runner,
    vault::Vault,
};
use countersign_store::{Commit, Guard, Outcome};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use crate::{
    Failure, start,
    term::{BAD, good},
};

/// One customer as the file has them. docs/import.md describes every column.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Row {
    account_number: String,
    name: String,
    date_of_birth: String,
    address: String,
    postal_code: String,
    language: String,
    mobile: String,
    landline: String,
    email: String,
    order_number: String,
    order_what: String,
    order_status: String,
    pin: String,
    verbal_password: String,
    totp_key: String,
    hotp_key: String,
}

/// `import`: reads and checks everything first; then writes all of it in one transaction, or nothing.
pub async fn import(config: &Path, file: &Path, dry_run: bool) -> Result<ExitCode, Failure> {
    let rows = read(file)?;
    let runner = start::open(&Config::read(config)?).await?;
    let bar = progress(rows.len() as u64, "checking");
    let (mut profiles, mut errors) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashMap::new();
    for (line, row) in &rows {
        match profile(row, &runner.vault, runner.now()) {
            Ok(profile) => {
                let number = normalise(ClaimKind::AccountNumber, &row.account_number).unwrap_or_default();
                if let Some(first) = seen.insert(number.clone(), *line) {
                    errors.push((*line, format!("account_number: the same as in line {first}")));
                } else if !runner.directory.find(ClaimKind::AccountNumber, &number, runner.now()).await?.0.is_empty() {
                    errors.push((*line, "account_number: on file already; import adds customers and changes none".into()));
                }
                profiles.push(profile);
            }
            Err(why) => errors.extend(why.into_iter().map(|w| (*line, w))),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !errors.is_empty() {
        for (line, why) in errors.iter().take(50) {
            anstream::eprintln!("{BAD}line {line}{BAD:#}  {why}");
        }
        let more = errors.len().saturating_sub(50);
        let more = if more > 0 { format!(" ({more} more not shown)") } else { String::new() };
        let mistakes = if errors.len() == 1 { "mistake" } else { "mistakes" };
        return Err(format!("{} {mistakes} in {}{more}: nothing was written", errors.len(), file.display()).into());
    }
    if dry_run {
        good(&format!("{} customers could be imported. Nothing was written.", profiles.len()));
        return Ok(ExitCode::SUCCESS);
    }
    write(&runner, &profiles).await?;
    start::close(&runner).await;
    good(&format!("{} customers imported.", profiles.len()));
    Ok(ExitCode::SUCCESS)
}

async fn write(runner: &Runner, profiles: &[Profile]) -> Result<(), Failure> {
    let now = runner.now();
    let bar = progress(profiles.len() as u64, "sealing");
    let mut commit = Commit { now: now.0, ..Commit::default() };
    for profiles in profiles.chunks(1000) {
        let mut sealed = profiles.to_vec();
        for profile in &mut sealed {
            commit.appends.push(record::append(record::ACCOUNT, profile.id.0, 0, now, &AccountEvent::Imported)?);
            profile.events = 1;
        }
        let writes = runner.directory.insert_all(&sealed).await?;
        commit.docs.extend(writes.docs);
        commit.index.extend(writes.index);
        bar.inc(sealed.len() as u64);
    }
    bar.finish_and_clear();
    runner.store.commit(commit).await?;
    Ok(())
}

fn progress(len: u64, what: &'static str) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(len) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{msg:>9} [{bar:40}] {pos}/{len}  {eta} left") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar
}

fn read(file: &Path) -> Result<Vec<(u64, Row)>, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {name}: {e}"))?;
    rows(&name, file.extension().and_then(|e| e.to_str()), &text)
}

/// The rows of a text of this kind, each with its line.
fn rows(name: &dyn std::fmt::Display, kind: Option<&str>, text: &str) -> Result<Vec<(u64, Row)>, Failure> {
    match kind {
        Some("csv") => {
            let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
            let headers = reader.headers().map_err(|e| format!("{name}: {e}"))?.clone();
            let mut rows = Vec::new();
            for record in reader.records() {
                let record = record.map_err(|e| format!("{name}: {e}"))?;
                let line = record.position().map_or(0, |p| line_at(text, p.byte()));
                rows.push((line, record.deserialize(Some(&headers)).map_err(|e| wrong_row(name, line, &e))?));
            }
            Ok(rows)
        }
        Some("json") => {
            let rows: Vec<Row> = serde_json::from_str(text).map_err(|e| format!("{name}, line {}, column {}: {e}", e.line(), e.column()))?;
            // A JSON list has no lines of its own: the place in the list counts.
            Ok((1..).zip(rows).collect())
        }
        _ => Err(format!("{name}: the file must end in .csv or .json").into()),
    }
}

/// What is wrong with a row, and where: a column that nobody knows stands in the first line.
fn wrong_row(name: &dyn std::fmt::Display, line: u64, error: &csv::Error) -> String {
    let why = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        _ => error.to_string(),
    };
    match why.strip_prefix("unknown field ").map(|rest| rest.split_once(", expected one of ").unwrap_or((rest, ""))) {
        Some((column, columns)) => format!("{name}, line 1: there is no column {column}. The columns are {columns}"),
        None => format!("{name}, line {line}: {why}"),
    }
}

/// The line of a record that is said to start at this byte. The reader's own count is short by one
/// where lines end as in RFC 4180, and by one for each empty line before the record.
fn line_at(text: &str, byte: u64) -> u64 {
    let start = usize::try_from(byte).unwrap_or(usize::MAX);
    let (before, after) = text.split_at_checked(start).unwrap_or((text, ""));
    let skipped = after.len() - after.trim_start_matches(['\r', '\n']).len();
    let breaks = |t: &str| t.matches('\n').count() as u64;
    1 + breaks(before) + after.get(..skipped).map_or(0, breaks)
}

/// Turns a row into a profile, or says everything that is wrong with it.
fn profile(row: &Row, vault: &Vault, now: Timestamp) -> Result<Profile, Vec<String>> {
    let mut errors: Vec<String> = Vec::new();
    let mut check = |bad: bool, text: &str| if bad { errors.push(text.into()) };
    check(normalise(ClaimKind::AccountNumber, &row.account_number).is_none(), "account_number: is missing");
    check(row.name.is_empty(), "name: is missing");
    check(!row.date_of_birth.is_empty() && !is_date(&row.date_of_birth), "date_of_birth: write YYYY-MM-DD");
    let language = if row.language.is_empty() { None } else { Lang::parse(&row.language) };
    check(!row.language.is_empty() && language.is_none(), "language: write en, es or de");
    for (column, value) in [("mobile", &row.mobile), ("landline", &row.landline)] {
        if !value.is_empty() && let Err(e) = E164::parse(value) {
            check(true, &format!("{column}: {e}"));
        }
    }
    let email = if row.email.is_empty() { None } else { mailbox(&Secret::new(&row.email)).ok() };
    check(!row.email.is_empty() && email.is_none(), "email: needs a name, an @ and a domain with a dot, and no blanks, quotes, brackets or commas");
    let email = email.map(|email| email.expose().to_owned()).unwrap_or_default();
    check(row.order_number.is_empty() && !(row.order_what.is_empty() && row.order_status.is_empty()), "order_number: is missing although there is an order");
    let mut contacts = Vec::new();
    let mut authenticators = Vec::new();
    let made = (|| -> Result<(), Failure> {
        for (kind, value) in [(ContactKind::Mobile, &row.mobile), (ContactKind::Landline, &row.landline), (ContactKind::Email, &email)] {
            if !value.is_empty() {
                // What the company has on file already has cooled off.
                contacts.push(Contact { id: ContactId(vault.id()?), kind, value: Secret::new(value), usable_from: now - Span::days(365), no_texts: false, retired: None });
            }
        }
        for (kind, value) in [(FactorKind::Pin, &row.pin), (FactorKind::VerbalPassword, &row.verbal_password)] {
            if !value.is_empty() {
                let word = WordRule::of(kind).check(&Secret::new(value)).map_err(|e| format!("{}: {e}", kind.name()))?;
                let real = WordHash::make(&word, vault.id()?, &vault.pepper);
                authenticators.push(Authenticator { id: AuthenticatorId(vault.id()?), kind, material: Material::Word { real, duress: WordHash::decoy() }, added: countersign_core::time::Timestamp(0), usable_from: Timestamp(0) });
            }
        }
        for (kind, value, step) in [(FactorKind::Totp, &row.totp_key, Some(30)), (FactorKind::Hotp, &row.hotp_key, None)] {
            if !value.is_empty() {
                let bytes = hex::decode(value).ok().filter(|k| k.len() >= 14).ok_or(format!("{}_key: write at least 28 hexadecimal digits (112 bits)", kind.name()))?;
                let otp = Otp { key: Secret::new(hex::encode(bytes)), digits: 6, algorithm: Algorithm::Sha1, step };
                authenticators.push(Authenticator { id: AuthenticatorId(vault.id()?), kind, material: Material::Otp(otp), added: countersign_core::time::Timestamp(0), usable_from: Timestamp(0) });
            }
        }
        Ok(())
    })();
    if let Err(e) = made {
        errors.push(e.to_string());
    }
    let id = vault.id().map_err(|e| vec![e.to_string()])?;
    if !errors.is_empty() {
        return Err(errors);
    }
    let order = Order {
        number: Secret::new(&row.order_number), what: Secret::new(&row.order_what), status: row.order_status.clone(), due: None,
    };
    Ok(Profile {
        id: AccountId(id), number: Secret::new(&row.account_number), name: Secret::new(&row.name), date_of_birth: Secret::new(&row.date_of_birth),
        address: Secret::new(&row.address), postal_code: Secret::new(&row.postal_code), language, contacts,
        orders: if row.order_number.is_empty() { Vec::new() } else { vec![order] }, authenticators, delegations: Vec::new(),
        preferred: None, frozen: None, phone_lock: false, never_sms: false, access: Access::default(), portal: None, push: Vec::new(), voice: None, changed: None, events: 0,
    })
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts.as_slice(), [y, m, d] if y.len() == 4 && m.len() == 2 && d.len() == 2) && normalise(ClaimKind::DateOfBirth, text).is_some()
}

/// `unlock`: a hundred wrong entries in a row close an authenticator until somebody looks
/// (NIST SP 800-63B-4 §3.2.2); this opens it again, on the record.
pub async fn unlock(config: &Path, number: &str) -> Result<ExitCode, Failure> {
    let runner = start::open(&Config::read(config)?).await?;
    let (found, _) = runner.directory.find(ClaimKind::AccountNumber, number, runner.now()).await?;
    let [brief] = found.as_slice() else { return Err("no account has this number".into()) };
    let before = runner.directory.load(brief.id).await?.ok_or("no account has this number")?;
    let (now, mut after) = (runner.now(), before.profile.clone());
    let guards = brief.factors.iter().map(|f| Guard::Attempt {
        key: format!("entry/{}/{}/{}", brief.id, f.authenticator, f.kind), window: None, max: u32::MAX, outcome: Outcome::Success,
    }).collect();
    let append = record::append(record::ACCOUNT, brief.id.0, after.events, now, &AccountEvent::Unlocked)?;
    after.events += 1;
    let writes = runner.directory.update(&before, &after)?;
    let commit = Commit { now: now.0, guards, appends: vec![append], docs: writes.docs, index: writes.index, ..Commit::default() };
    runner.store.commit(commit).await?;
    start::close(&runner).await;
    good("The counts of wrong entries are back at nothing.");
    Ok(ExitCode::SUCCESS)
}

/// `agent add`: the password comes on standard input, so that it is in no shell history.
pub async fn add_agent(config: &Path, name: &str, role: Role) -> Result<ExitCode, Failure> {
    let runner = Arc::new(start::open(&Config::read(config)?).await?);
    if std::io::stdin().is_terminal() {
        anstream::eprintln!("Password for {name} (at least 12 characters, shown as you type):");
    }
    let mut password = zeroize::Zeroizing::new(String::new());
    std::io::stdin().read_line(&mut password)?;
    let totp = Agents::new(runner.clone()).add(name, role, &Secret::new(password.trim_end_matches(['\r', '\n']))).await?;
    good(&format!("{name} may sign in as {}. Key for their authenticator app (shown once):", role.name()));
    anstream::println!("{}", base32(&hex::decode(totp.key.expose()).unwrap_or_default()));
    start::close(&runner).await;
    Ok(ExitCode::SUCCESS)
}

/// `agent serve` and `agent leave`.
pub async fn assign_agent(config: &Path, name: &str, tenant: &str, role: Option<Role>) -> Result<ExitCode, Failure> {
    let config = Config::read(config)?;
    let Some(at) = config.tenants.iter().find(|t| t.name == tenant) else {
        let known: Vec<&str> = config.tenants.iter().map(|t| t.name.as_str()).collect();
        let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        return Err(format!("{tenant} is no company under [[tenants]]: {known}").into());
    };
    let runner = Arc::new(start::open(&config).await?);
    Agents::new(runner.clone()).assign(name, &at.name, role).await?;
    start::close(&runner).await;
    good(&match role {
        Some(role) => format!("{name} takes calls of {tenant} as {}.", role.name()),
        None => format!("{name} takes no calls of {tenant} any more."),
    });
    Ok(ExitCode::SUCCESS)
}

/// RFC 4648 base 32 without padding, as authenticator apps take keys.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let block = chunk.iter().fold(0u64, |sum, b| sum << 8 | u64::from(*b)) << (8 * (5 - chunk.len()));
        for i in 0..(chunk.len() * 8).div_ceil(5) {
            let index = usize::try_from(block >> (35 - 5 * i) & 31).unwrap_or(0);
            out.push(ALPHABET.get(index).map_or('A', |c| char::from(*c)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10.
    #[test]
    fn base32_vectors() {
        for (bytes, text) in [("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("fooba", "MZXW6YTB"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn lines_are_those_that_an_editor_shows() {
        for text in ["a,b\n1,2\n3,4\n", "a,b\r\n1,2\r\n3,4\r\n", "a,b\n\n3,4\n", "a,b\n\"1\n\",2\n", "a,b\r\n\r\n3,4"] {
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let last = reader.records().last().unwrap().unwrap();
            let wanted = if text.contains('"') { 2 } else { 3 };
            assert_eq!(line_at(text, last.position().unwrap().byte()), wanted, "{text:?}");
        }
        assert_eq!(line_at("", 9), 1);
    }

    #[test]
    fn an_unknown_column_is_named_with_the_line_that_it_stands_in() {
        let said = rows(&"f.csv", Some("csv"), "account_number,nmae\n1,Ana\n").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.starts_with("f.csv, line 1: there is no column `nmae`. The columns are `account_number`"), "{said}");
    }

    #[test]
    fn a_bad_row_says_everything_that_is_wrong_with_it() {
        let row = Row { name: "Ana".into(), mobile: "555-0142".into(), email: "ana".into(), pin: "1234".into(), date_of_birth: "9.3.84".into(), ..Row::default() };
        let errors = profile(&row, &Vault::new(&[1; 32]), Timestamp(0)).unwrap_err();
        assert_eq!(errors.len(), 5, "{errors:?}");
    }

    /// The reader is part of the program, out of reach of `cargo xtask fuzz`: its changes of samples are used here.
    #[test]
    fn no_file_makes_the_import_panic_and_what_it_takes_is_whole() {
        use countersign_fuzz::mutate::{Chance, changed};
        let seeds = [
            include_bytes!("../../../docs/customers.example.csv").to_vec(),
            br#"[{"account_number":"20000001","name":"Mara Lindqvist","mobile":"+12025550151","language":"en","order_number":"7"}]"#.to_vec(),
        ];
        let words = ["account_number", ",", "\"", "\r\n", "\"\"", "null", "[", "{", "\u{feff}", "\\u0000", "1985-02-30", "@"];
        let (vault, mut chance, mut taken) = (Vault::new(&[1; 32]), Chance::new(20_260_601), 0);
        for _ in 0..1_500 {
            let input = changed(&mut chance, &seeds, &words);
            let text = String::from_utf8_lossy(&input);
            for kind in ["csv", "json"] {
                let Ok(rows) = rows(&"the file", Some(kind), &text) else { continue };
                let lines = text.lines().count() as u64 + 1;
                for (line, mut row) in rows {
                    assert!(line >= 1 && line <= lines.max(text.len() as u64), "line {line} of {lines}");
                    // Hashing takes its time, and is not what is tried.
                    (row.pin, row.verbal_password) = Default::default();
                    if let Ok(profile) = profile(&row, &vault, Timestamp(0)) {
                        taken += 1;
                        assert!(!profile.number.is_empty() && !profile.name.is_empty());
                        assert!(profile.contacts.iter().all(|c| c.kind == ContactKind::Email || E164::parse(c.value.expose()).is_ok()));
                    }
                }
            }
        }
        assert!(taken > 100, "{taken}");
    }
}

//! The figures beside what was aimed at: on the terminal, and as files.

use std::{fmt::Write as _, fs, path::Path};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::{Fail, peer::WORKERS, site::Site};

/// What the store holds: the proof that what was answered was also written.
pub struct OnRecord {
    pub commands: i64,
    pub events: i64,
}

pub async fn on_record(site: &Site) -> Result<OnRecord, Fail> {
    let Some(database) = &site.postgres else { return in_file(&site.store()) };
    let row = database.connect().await?.query_one("SELECT (SELECT COUNT(*) FROM command), (SELECT COUNT(*) FROM event)", &[]).await?;
    Ok(OnRecord { commands: row.get(0), events: row.get(1) })
}

fn in_file(store: &Path) -> Result<OnRecord, Fail> {
    let conn = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let count = |table: &str| conn.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0));
    Ok(OnRecord { commands: count("command")?, events: count("event")? })
}

/// On what it was measured.
pub fn machine() -> Value {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let model = read("/proc/cpuinfo").lines().find_map(|l| Some(l.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()));
    let load = read("/proc/loadavg").split(' ').next().and_then(|l| l.parse::<f64>().ok());
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from), "model": model, "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_before": load,
    })
}

/// Writes `report.json` and `report.md`, and prints the latter. False: something is not sound.
pub fn write(dir: &Path, report: &Value) -> Result<bool, Fail> {
    let (text, sound) = markdown(report)?;
    fs::write(dir.join("report.json"), serde_json::to_string_pretty(report)?)?;
    fs::write(dir.join("report.md"), &text)?;
    println!("{text}");
    println!("Also in {}", dir.join("report.json").display());
    Ok(sound)
}

fn number(value: &Value, path: &str) -> Option<f64> { value.pointer(path).and_then(Value::as_f64) }

fn markdown(report: &Value) -> Result<(String, bool), Fail> {
    let mut out = String::new();
    let mut sound = true;
    let machine = |key: &str| report.pointer(&format!("/machine/{key}")).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default();
    writeln!(out, "# Benchmark\n\n{} cores ({}), Linux {}, load before {}.\n", machine("cores"), machine("model"), machine("kernel"), machine("load_before"))?;
    aims(report, &mut out)?;
    if let Some(calls) = report.get("calls") {
        sound &= whole_calls(calls, &mut out)?;
    }
    sound &= checks(report, &mut out)?;
    if let Some(portal) = report.get("portal") {
        sound &= customers_side(portal, &mut out)?;
    }
    if let Some(waiting) = report.get("waiting") {
        writeln!(out, "## Calls that wait\n\n| | RSS | anonymous | PSS |\n|---|---|---|---|")?;
        for (key, name) in [("nobody", "nobody on the line"), ("waiting", "calls waiting"), ("after_a_start", "the same after a start")] {
            let mib = |field: &str| number(waiting, &format!("/{key}/{field}")).map_or_else(|| "–".into(), |m| format!("{m:.0} MiB"));
            writeln!(out, "| {name} | {} | {} | {} |", mib("rss_mib"), mib("anon_mib"), mib("pss_mib"))?;
        }
        let figure = |key: &str| number(waiting, key).unwrap_or(0.0);
        writeln!(out, "\n{:.0} calls, {:.1} KiB each; the store has {:.0} MiB.\n", figure("/calls"), figure("/kib_per_call"), figure("/store_mib"))?;
    }
    if let Some(log) = report.get("log") {
        let figure = |key: &str| number(log, key).unwrap_or(0.0);
        writeln!(
            out, "## The Merkle log\n\n{:.0} entries: verified offline in {:.1} s ({:.0} entries/s) with at most {:.0} MiB; {:.0} inclusion proofs/s on one core. With its events ({:.1} GB) {:.1} s ({:.0} events/s) and at most {:.0} MiB.\n",
            figure("/entries"), figure("/verify_seconds"), figure("/entries") / figure("/verify_seconds").max(0.001), figure("/verify_peak_mib"), figure("/proofs_per_second"),
            figure("/events_bytes") / 1e9, figure("/with_events_seconds"), figure("/entries") / figure("/with_events_seconds").max(0.001), figure("/with_events_peak_mib"),
        )?;
    }
    if let Some(voice) = report.get("voice") {
        let figure = |key: &str| number(voice, key).unwrap_or(0.0);
        writeln!(
            out, "## Voices\n\n{:.0} verifications of three seconds, one after the other: p50 {:.1} ms, p99 {:.1} ms; {:.1} ms of CPU each, {:.0} in a second of one core. The engine is ready in {:.0} ms and takes {:.0} MiB; a template has {:.0} bytes.\n",
            figure("/verifications"), figure("/p50_ms"), figure("/p99_ms"), figure("/cpu_ms"), figure("/per_second_of_cpu"), figure("/start_ms"), figure("/more_rss_mib"), figure("/template_bytes"),
        )?;
    }
    if let Some(recordings) = report.get("recordings") {
        sound &= told_apart(recordings, &mut out)?;
    }
    if let Some(races) = report.get("race").and_then(Value::as_array) {
        sound &= race(races, &mut out)?;
    }
    if let Some(faults) = report.get("faults") {
        sound &= under_faults(faults, &mut out)?;
    }
    for store in report.get("accounts").and_then(Value::as_array).into_iter().flatten() {
        sound &= accounts(store, &mut out)?;
    }
    if let Some(calls) = report.get("telephony").and_then(Value::as_array) {
        sound &= telephone_calls(calls, &mut out)?;
    }
    if let Some(media) = report.get("media") {
        sound &= lasting_calls(media, &mut out)?;
    }
    if let Some(passports) = report.get("passports") {
        let figure = |key: &str| number(passports, key).unwrap_or(0.0);
        writeln!(
            out, "PASSporTs with a known certificate: {:.0}/s on one core, {:.1} % of the bare ES256 rate of the same library ({:.0}/s).\n",
            figure("/per_second"), figure("/share") * 100.0, figure("/es256_per_second"),
        )?;
    }
    Ok((out, sound))
}

/// Side by side. Not sound: a call of ours that did not go as it should.
fn telephone_calls(subjects: &[Value], out: &mut String) -> Result<bool, Fail> {
    let mut sound = true;
    writeln!(out, "## Telephone calls\n\n| | calls as they should be | CPU for one | cores | RSS, nobody on the line | at most | for each at a time |\n|---|---|---|---|---|---|---|")?;
    for subject in subjects {
        let who = subject.get("who").and_then(Value::as_str).unwrap_or_default();
        if let Some(why) = subject.get("not_measured").and_then(Value::as_str) {
            writeln!(out, "| {who} | not measured: {why} | | | | | |")?;
            continue;
        }
        let figure = |key: &str| number(subject, key).unwrap_or(0.0);
        sound &= figure("/good") >= figure("/calls") || who == "Asterisk";
        writeln!(
            out, "| {who}, {:.0} at a time | {:.0} of {:.0} | {:.2} ms | {:.2} | {:.0} MiB | {:.0} MiB | {:.0} KiB |",
            figure("/at_a_time"), figure("/good"), figure("/calls"), figure("/cpu_ms_per_call"), figure("/cores"), figure("/idle_mib"), figure("/most_mib"), figure("/kib_per_call"),
        )?;
    }
    writeln!(out)?;
    Ok(sound)
}

/// What stays, and what is set up. Not sound: a call that did not come about.
fn lasting_calls(media: &Value, out: &mut String) -> Result<bool, Fail> {
    let rows = |key: &str| media.get(key).and_then(Value::as_array).into_iter().flatten();
    writeln!(out, "### With sound both ways, at our gateway\n\n| calls at a time | cores | for each | packets that came | lost | gap p50 | p99 | longest |\n|---|---|---|---|---|---|---|---|")?;
    for row in rows("lasting") {
        let figure = |key: &str| number(row, key).unwrap_or(0.0);
        writeln!(
            out, "| {:.0} | {:.3} | {:.0} KiB | {:.2} % | {:.0} | {:.0} ms | {:.0} ms | {:.0} ms |",
            figure("/calls"), figure("/cores"), figure("/kib_per_call"), figure("/packets") * 100.0 / figure("/packets_due").max(1.0), figure("/lost"),
            figure("/gap_p50_ms"), figure("/gap_p99_ms"), figure("/gap_most_ms"),
        )?;
    }
    writeln!(out, "\n| set up in a second | calls | failed | answered p50 | p99 | cores | CPU for one | RSS at the end |\n|---|---|---|---|---|---|---|---|")?;
    let mut sound = true;
    for row in rows("set_ups") {
        let figure = |key: &str| number(row, key).unwrap_or(0.0);
        sound &= figure("/failed") == 0.0;
        writeln!(
            out, "| {:.0} | {:.0} | {:.0} | {:.1} ms | {:.1} ms | {:.2} | {:.2} ms | {:.0} MiB |",
            figure("/per_second"), figure("/calls"), figure("/failed"), figure("/answered/p50_ms"), figure("/answered/p99_ms"), figure("/cores"),
            figure("/cpu_ms_per_call"), figure("/most_mib"),
        )?;
    }
    writeln!(out)?;
    Ok(sound)
}

/// Aim and reality, line by line.
fn aims(report: &Value, out: &mut String) -> Result<(), Fail> {
    let best = report.get("checks").and_then(Value::as_array).map(|runs| runs.iter().filter_map(|r| number(r, "/checks_per_second")).fold(0.0, f64::max));
    let peer = report.pointer("/peer/0/checks").and_then(Value::as_array).map(|runs| runs.iter().filter_map(|r| number(r, "/checks_per_second")).fold(0.0, f64::max));
    let ratio = best.zip(peer).filter(|(_, peer)| *peer > 0.0).map(|(best, peer)| best / peer);
    let most = report.pointer("/race/0/rounds").and_then(Value::as_array).and_then(|rounds| rounds.iter().filter_map(|round| number(round, "/after_the_limit")).reduce(f64::max));
    let growth = |store: usize| {
        let sizes = report.pointer(&format!("/accounts/{store}/sizes"))?.as_array()?;
        Some(number(sizes.last()?, "/durable/p50_ms")? / number(sizes.first()?, "/durable/p50_ms")?)
    };
    let faults = || report.pointer("/faults/parts").and_then(Value::as_array);
    let worst = |keys: &[&str]| faults()?.iter().filter_map(|part| keys.iter().map(|key| number(part, key)).sum::<Option<f64>>()).reduce(f64::max);
    let equal_error = |set: usize| number(report, &format!("/recordings/sets/{set}/voices/equal_error/value")).map(|share| share * 100.0);
    let lines: [(&str, f64, bool, Option<f64>, &str); 15] = [
        ("Durable commands per second, whole calls", 8000.0, true, number(report, "/calls/durable_commands_per_second"), "/s"),
        ("99 of 100 durable commands at that load", 60.0, false, number(report, "/calls/durable/p99_ms"), " ms"),
        ("Memory with the calls waiting", 150.0, false, number(report, "/waiting/waiting/rss_mib"), " MiB"),
        ("Ready after a start, empty store", 300.0, false, number(report, "/empty_start/ready_ms"), " ms"),
        ("Ready after a start, with the calls waiting", 300.0, false, number(report, "/waiting/ready_ms"), " ms"),
        ("Checks of a one-time code, beside privacyIDEA as installed", 200.0, true, ratio, " times"),
        ("Guesses that were evaluated after the limit, in any race", 0.0, false, most, ""),
        ("A command with the most accounts, beside a thousand (p50), SQLite", 1.3, false, growth(0), " times"),
        ("The same, PostgreSQL", 1.3, false, growth(1), " times"),
        ("Events that somebody was told of and are missing, after any fault", 0.0, false, worst(&["/missing"]), ""),
        ("Commands, codes and texts that count twice, after any fault", 0.0, false, worst(&["/twice", "/codes_twice", "/overheard_accepted", "/texts_repeated"]), ""),
        ("Voices, equal error: digits, as recorded", 0.6, false, equal_error(0), " %"),
        ("The same, on a bad line", 4.2, false, equal_error(1), " %"),
        ("Voices, equal error: sentences, as recorded", 4.8, false, equal_error(2), " %"),
        ("The same, on a bad line", 6.4, false, equal_error(3), " %"),
    ];
    writeln!(out, "| What | Aim | Seen | |\n|---|---|---|---|")?;
    for (what, aim, at_least, seen, unit) in lines {
        let sign = if at_least { "≥" } else { "≤" };
        match seen {
            Some(seen) => {
                let met = if at_least { seen >= aim } else { seen <= aim };
                writeln!(out, "| {what} | {sign} {aim}{unit} | {seen:.*}{unit} | {} |", usize::from(aim < 10.0) * 2, if met { "met" } else { "NOT MET" })?;
            }
            None => writeln!(out, "| {what} | {sign} {aim}{unit} | not measured | |")?,
        }
    }
    Ok(writeln!(out)?)
}

fn customers_side(portal: &Value, out: &mut String) -> Result<bool, Fail> {
    let figure = |path: &str| number(portal, path).unwrap_or(0.0);
    writeln!(out, "## The customer's side\n")?;
    writeln!(
        out, "- {:.0} open pages (event streams) on one server: {:.1} KiB each, {:.0} MiB RSS in all ({:.0} MiB before), {:.3} cores while nothing happens",
        figure("/streams/open"), figure("/streams/kib_per_stream"), figure("/streams/rss_mib"), figure("/streams/before_rss_mib"), figure("/streams/idle_cores"),
    )?;
    writeln!(
        out, "- from a call's first webhook to the page of its customer, with all of them open: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {:.2} ms of CPU per call",
        figure("/streams/call_to_page_ms/p50_ms"), figure("/streams/call_to_page_ms/p99_ms"), figure("/streams/call_to_page_ms/max_ms"), figure("/streams/cpu_ms_per_call"),
    )?;
    writeln!(
        out, "- passkey assertions verified by the library on one core: {:.0}/s, {:.0} % of the bare ES256 rate of the same crate ({:.0}/s)",
        figure("/assertions/per_second"), figure("/assertions/share") * 100.0, figure("/assertions/bare_es256_per_second"),
    )?;
    writeln!(out, "\n| Request | At a time | Per second | Cores | Per core and second | Number | p50 | p99 | max |\n|---|---|---|---|---|---|---|---|---|")?;
    let mut sound = true;
    for (key, name) in [("polls", "CIBA poll at the token endpoint"), ("passkeys", "whole sign-in by passkey (two requests, two durable commits)")] {
        let times = portal.pointer(&format!("/{key}/times")).map(row).unwrap_or_default();
        writeln!(out, "| {name} | {:.0} | {:.0} | {:.2} | {:.0} {times}|", figure(&format!("/{key}/at_a_time")), figure(&format!("/{key}/per_second")), figure(&format!("/{key}/cores")), figure(&format!("/{key}/per_core")))?;
        for (what, count) in portal.pointer(&format!("/{key}/errors")).and_then(Value::as_object).into_iter().flatten() {
            sound = false;
            writeln!(out, "| **ERROR**, {count} times: {what} | | | | | | | | |")?;
        }
    }
    writeln!(out)?;
    Ok(sound)
}

fn whole_calls(calls: &Value, out: &mut String) -> Result<bool, Fail> {
    let figure = |key: &str| number(calls, key).unwrap_or(0.0);
    writeln!(out, "## Whole calls\n\n{:.0} at a time, {:.0} agents, {:.0} s.\n", figure("/calls_at_a_time"), figure("/agents"), figure("/seconds"))?;
    writeln!(out, "- {:.0} calls/s, {:.0} durable commands/s, {:.0} requests/s", figure("/calls_per_second"), figure("/durable_commands_per_second"), figure("/requests_per_second"))?;
    writeln!(out, "- the server used {:.2} cores ({:.0} µs per durable command), the generator {:.2}", figure("/server_cores"), figure("/server_microseconds_per_command"), figure("/generator_cores"))?;
    writeln!(out, "- the server had {:.0} MiB (RSS), {:.0} MiB of it anonymous", figure("/server_rss_mib"), figure("/server_anon_mib"))?;
    let (answered, commands) = (figure("/record/answered"), figure("/record/commands"));
    writeln!(out, "- {answered:.0} durable commands were answered; {commands:.0} commands and {:.0} events are on record", figure("/record/events"))?;
    writeln!(
        out, "- {:.0} events/s were appended to the record; at most {:.0} of them were in no checkpoint of the Merkle log yet, and the oldest of these had waited {:.0} ms (99 of 100 looks below {:.0} ms), {:.0} ms at the longest ({:.0} looks)",
        figure("/log/events_per_second"), figure("/log/most_behind"), figure("/log/waiting/p50_ms"), figure("/log/waiting/p99_ms"), figure("/log/waiting/max_ms"), figure("/log/looks"),
    )?;
    // More than were answered: reports on texts, and clocks.
    let mut sound = commands >= answered;
    if !sound {
        writeln!(out, "- **LOST: commands that were answered are not on record**")?;
    }
    for (what, count) in calls.get("errors").and_then(Value::as_object).into_iter().flatten() {
        sound = false;
        writeln!(out, "- **ERROR**, {count} times: {what}")?;
    }
    writeln!(out, "\n| Request | Number | p50 | p99 | max |\n|---|---|---|---|---|")?;
    let all = calls.get("durable").map(|durable| ("all durable".to_owned(), durable));
    let each = calls.get("by_request").and_then(Value::as_object).into_iter().flatten().map(|(kind, times)| (kind.clone(), times));
    for (kind, times) in all.into_iter().chain(each) {
        writeln!(out, "| {kind} {}|", row(times))?;
    }
    writeln!(out)?;
    Ok(sound)
}

fn row(times: &Value) -> String {
    let ms = |key: &str| number(times, key).map_or_else(|| "–".into(), |m| format!("{m:.1} ms"));
    format!("| {:.0} | {} | {} | {} ", number(times, "/count").unwrap_or(0.0), ms("/p50_ms"), ms("/p99_ms"), ms("/max_ms"))
}

fn race(races: &[Value], out: &mut String) -> Result<bool, Fail> {
    let mut sound = true;
    writeln!(out, "## Guesses at one token at once\n\nOne of them is right: in the middle of the others, and in every second round soon after the limit. Each round is at a token of its own. Smallest, middle and largest over the rounds.\n")?;
    writeln!(out, "| Who | Guesses | Rounds | Limit | Evaluated | Of these after the limit | The right one accepted after the limit | Not decided | Seconds |\n|---|---|---|---|---|---|---|---|---|")?;
    for race in races {
        let text = |key: &str| race.get(key).and_then(Value::as_str).unwrap_or_default();
        if let Some(why) = race.get("not_measured").and_then(Value::as_str) {
            sound = false;
            writeln!(out, "| **{} COULD NOT BE MEASURED**: {why} | | | | | | | | |", text("who"))?;
            continue;
        }
        let rounds = race.get("rounds").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let spread = |keys: &[&str], digits: usize| {
            let mut seen: Vec<f64> = rounds.iter().map(|round| keys.iter().filter_map(|key| number(round, key)).sum()).collect();
            seen.sort_by(f64::total_cmp);
            let at = |place: usize| seen.get(place).copied().unwrap_or(0.0);
            format!("{:.digits$} / {:.digits$} / {:.digits$}", at(0), at(seen.len() / 2), at(seen.len().saturating_sub(1)))
        };
        let right = rounds.iter().filter(|round| number(round, "/accepted_after_the_limit").is_some_and(|n| n > 0.0)).count();
        writeln!(
            out, "| {}, {} | {:.0} | {} | {:.0} | {} | {} | in {right} rounds | {} | {} |",
            text("who"), text("how"), number(race, "/guesses").unwrap_or(0.0), rounds.len(), number(race, "/limit").unwrap_or(0.0),
            spread(&["/evaluated"], 0), spread(&["/after_the_limit"], 0), spread(&["/busy", "/broken"], 0), spread(&["/seconds"], 2),
        )?;
        // Of the peer it is told, of ourselves it must not be.
        sound &= text("who") != "Countersign" || rounds.iter().all(|round| number(round, "/after_the_limit") == Some(0.0));
    }
    writeln!(out)?;
    Ok(sound)
}

/// Not sound: what was told and is not there, or is there twice, or does not verify.
fn under_faults(faults: &Value, out: &mut String) -> Result<bool, Fail> {
    let figure = |of: &Value, key: &str| number(of, key).unwrap_or(0.0);
    writeln!(out, "## Under faults\n")?;
    if let Some(why) = faults.get("not_measured").and_then(Value::as_str) {
        writeln!(out, "Not measured: {why}.\n")?;
        return Ok(true);
    }
    if let Some(why) = faults.get("failed").and_then(Value::as_str) {
        writeln!(out, "**COULD NOT BE MEASURED TO THE END**: {why}\n")?;
        return Ok(false);
    }
    writeln!(
        out, "{:.0} nodes on one PostgreSQL schema; {:.0} calls begin in a second, whatever happens. What one node does not answer is sent to the next, the same request again. A time is from the first try to the answer of whichever node. Missing and twice are by the record (`countersign audit export`) beside what callers were told; the log is verified by `countersign audit verify`.\n",
        figure(faults, "/nodes"), figure(faults, "/rate"),
    )?;
    writeln!(out, "| Fault | Times | Calls | Commands answered | In a second, during | p50 | p99 | max | Longest time in which nobody was answered | Events missing | Done twice | Codes accepted twice | Numbers of events wrong | Log verified |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    let parts = faults.get("parts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut sound = true;
    let mut texts = String::new();
    for part in parts {
        let fault = part.get("fault").and_then(Value::as_str).unwrap_or_default();
        if let Some(why) = part.get("left_out").and_then(Value::as_str) {
            writeln!(out, "| {fault}: left out, {why} | | | | | | | | | | | | | |")?;
            continue;
        }
        let of = |key: &str| figure(part, key);
        let codes_twice = of("/codes_twice").max(of("/overheard_accepted"));
        let verified = part.get("verified") == Some(&Value::Bool(true));
        let times = number(part, "/times").map_or_else(|| "–".into(), |times| format!("{times:.0}"));
        let more = match (number(part, "/before").zip(number(part, "/after")), number(part, "/away_seconds")) {
            (Some((before, after)), _) => format!(" ({before:.0} before, {after:.0} after)"),
            (None, Some(away)) => format!(" (away for {away:.1} s)"),
            (None, None) => String::new(),
        };
        writeln!(
            out, "| {fault}{more} | {times} | {:.0} | {:.0} | {:.1} | {:.1} ms | {:.1} ms | {:.0} ms | {:.2} s | {:.0} | {:.0} | {codes_twice:.0} | {:.0} | {} |",
            of("/calls"), of("/commands"), of("/commands_per_second"), of("/answered/p50_ms"), of("/answered/p99_ms"), of("/answered/max_ms"),
            of("/longest_silence_ms") / 1000.0, of("/missing"), of("/twice"), of("/broken_numbers"), if verified { "yes" } else { "**NO**" },
        )?;
        writeln!(
            texts, "| {fault} | {:.0} | {:.0} | {:.0} | {:.1} s | {:.1} s | {:.0} of {:.0} | {:.0} | {:.0} |", of("/texts"), of("/texts_repeated"), of("/texts_in_vain"),
            of("/text_waits/p50_ms") / 1000.0, of("/text_waits/max_ms") / 1000.0, of("/accepted"), of("/calls") - of("/overheard"), of("/overheard"), of("/differing_answers"),
        )?;
        sound &= verified && codes_twice == 0.0 && ["/missing", "/twice", "/broken_numbers", "/texts_repeated"].iter().all(|key| of(key) == 0.0);
        for (what, count) in part.get("errors").and_then(Value::as_object).into_iter().flatten() {
            sound = false;
            writeln!(texts, "| **ERROR**, {count} times: {what} | | | | | | | | |")?;
        }
    }
    writeln!(out, "\nTexts, and codes. A text that may have gone when its node died is not sent again: whoever waits for it waits in vain. Some codes are keyed once more on a second call, as by somebody who overheard them.\n")?;
    writeln!(out, "| Fault | Texts | Sent twice for one command | Waited for in vain | Wait for one, p50 | at the longest | Callers whose code was accepted | Codes keyed a second time | Requests to two nodes with two answers |\n|---|---|---|---|---|---|---|---|---|\n{texts}")?;
    Ok(sound)
}

/// How well voices are told apart. Not sound: recordings that are named and could not be measured.
fn told_apart(recordings: &Value, out: &mut String) -> Result<bool, Fail> {
    writeln!(out, "### Told apart\n")?;
    if let Some(why) = recordings.get("not_measured").and_then(Value::as_str) {
        writeln!(out, "Not measured: {why}.\n")?;
        return Ok(true);
    }
    if let Some(why) = recordings.get("failed").and_then(Value::as_str) {
        writeln!(out, "**COULD NOT BE MEASURED**: {why}\n")?;
        return Ok(false);
    }
    writeln!(out, "By `countersign voice evaluate`, on people whom no model was trained on. A: as recorded. B: another handset, a room and noise. In %, in brackets 95% intervals from drawing people again.\n")?;
    writeln!(out, "| | People | Genuine | Impostors | Equal error | Aim | | False refusals at 1% false accepts | at 0.1% |\n|---|---|---|---|---|---|---|---|---|")?;
    for set in recordings.get("sets").and_then(Value::as_array).into_iter().flatten() {
        let percent = |path: &str| {
            let of = |end: &str| number(set, &format!("/voices/{path}/{end}")).map(|share| share * 100.0);
            match (of("value"), of("low"), of("high")) {
                (Some(value), Some(low), Some(high)) => format!("{value:.2} ({low:.1}–{high:.1})"),
                _ => "too few to say".to_owned(),
            }
        };
        let (seen, aim) = (number(set, "/voices/equal_error/value").unwrap_or(1.0) * 100.0, number(set, "/aim_percent").unwrap_or(0.0));
        writeln!(
            out, "| {} | {:.0} | {:.0} | {:.0} | {} | ≤ {aim} | {} | {} | {} |", set.get("name").and_then(Value::as_str).unwrap_or_default(),
            number(set, "/people").unwrap_or(0.0), number(set, "/voices/genuine").unwrap_or(0.0), number(set, "/voices/impostors").unwrap_or(0.0),
            percent("equal_error"), if seen <= aim { "met" } else { "NOT MET" }, percent("refused_at_1_percent"), percent("refused_at_1_permille"),
        )?;
    }
    let attacks = |key: &str| number(recordings, &format!("/attacks/{key}")).unwrap_or(0.0);
    writeln!(out, "\nPlayed to {:.0} of these people who say sentences, at a threshold that {:.0} of ten of {:.0} genuine answers pass:\n", attacks("people"), attacks("pass_of_ten"), attacks("genuine"))?;
    writeln!(out, "| What was played | Compared | Alike | Known as a recording that is stored | Not good enough to compare |\n|---|---|---|---|---|")?;
    for played in recordings.pointer("/attacks/played").and_then(Value::as_array).into_iter().flatten() {
        let of = |key: &str| number(played, key).unwrap_or(0.0);
        let share = |key: &str| format!("{:.0} ({:.1} %)", of(key), of(key) * 100.0 / of("/compared").max(1.0));
        writeln!(
            out, "| {} | {:.0} | {} | {} | {:.0} |", played.get("what").and_then(Value::as_str).unwrap_or_default(), of("/compared"), share("/alike"), share("/known"), of("/unusable"),
        )?;
    }
    writeln!(out)?;
    Ok(true)
}

fn accounts(store: &Value, out: &mut String) -> Result<bool, Fail> {
    let figure = |path: &str| number(store, path).unwrap_or(0.0);
    let sizes = store.get("sizes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    writeln!(
        out, "## As accounts grow: {}\n\n{:.0} whole calls, {:.0} at a time, each from an account that is not in memory; the middle of {:.0} rounds over all sizes.\n",
        store.get("store").and_then(Value::as_str).unwrap_or_default(), figure("/calls"), figure("/at_a_time"), figure("/rounds"),
    )?;
    let columns: Vec<String> = sizes.iter().map(|size| format!("{:.0}", number(size, "/accounts").unwrap_or(0.0))).collect();
    writeln!(out, "| Accounts | {} | largest by smallest |\n|---|{}---|", columns.join(" | "), "---|".repeat(columns.len()))?;
    let line = |name: &str, path: &str, digits: usize| {
        let seen: Vec<Option<f64>> = sizes.iter().map(|size| number(size, path)).collect();
        let cells: Vec<String> = seen.iter().map(|seen| seen.map_or_else(|| "–".into(), |s| format!("{s:.digits$}"))).collect();
        let ratio = seen.last().copied().flatten().zip(seen.first().copied().flatten()).filter(|(_, first)| *first > 0.0);
        format!("| {name} | {} | {} |", cells.join(" | "), ratio.map_or_else(|| "–".into(), |(last, first)| format!("{:.2}", last / first)))
    };
    for (name, path, digits) in [
        ("accounts and index on disk, MiB", "/mib", 0), ("ready after a start, ms", "/ready_ms", 0),
        ("CPU of the server for a durable command, µs", "/server_microseconds_per_command", 0), ("CPU of the database for one, µs", "/database_microseconds_per_command", 0),
        ("all durable commands, p50 ms", "/durable/p50_ms", 2), ("all durable commands, p99 ms", "/durable/p99_ms", 2),
        ("look-ups of unknown numbers through the program, per second", "/strangers_per_second", 0), ("CPU of the server for one, µs", "/strangers_microseconds", 1),
        ("random account in the database itself, p50 ms", "/direct/p50_ms", 3), ("random account in the database itself, p99 ms", "/direct/p99_ms", 3),
    ] {
        // A file has no process of its own.
        if sizes.iter().any(|size| number(size, path).is_some()) {
            writeln!(out, "{}", line(name, path, digits))?;
        }
    }
    for kind in sizes.first().and_then(|size| size.get("by_request")?.as_object()).into_iter().flatten().map(|(kind, _)| kind) {
        for rank in ["p50", "p99"] {
            writeln!(out, "{}", line(&format!("{kind}, {rank} ms"), &format!("/by_request/{kind}/{rank}_ms"), 2))?;
        }
    }
    writeln!(out)?;
    let mut sound = true;
    for errors in sizes.iter().filter_map(|size| size.get("errors")?.as_array()).flatten() {
        sound = false;
        writeln!(out, "- **ERROR**: {errors}")?;
    }
    Ok(sound)
}

fn checks(report: &Value, out: &mut String) -> Result<bool, Fail> {
    let mut sound = true;
    let own = report.get("checks").and_then(Value::as_array);
    let peers = report.get("peer").and_then(Value::as_array);
    if own.is_none() && peers.is_none() {
        return Ok(true);
    }
    writeln!(out, "## Checks of a one-time code (HOTP), each with its durable record\n")?;
    writeln!(out, "| Who | At a time | Checks/s | Number | p50 | p99 | max | Cores | RSS |\n|---|---|---|---|---|---|---|---|---|")?;
    let mut line = |who: &str, run: &Value| -> Result<(), Fail> {
        let figure = |key: &str| number(run, key).unwrap_or(0.0);
        let times = run.get("times").map(row).unwrap_or_default();
        writeln!(out, "| {who} | {:.0} | {:.1} {times}| {:.2} | {:.0} MiB |", figure("/at_a_time"), figure("/checks_per_second"), figure("/cores"), figure("/rss_mib"))?;
        for (what, count) in run.get("errors").and_then(Value::as_object).into_iter().flatten() {
            sound = false;
            writeln!(out, "| **ERROR**, {count} times: {what} | | | | | | | | |")?;
        }
        Ok(())
    };
    for run in own.into_iter().flatten() {
        line("Countersign", run)?;
    }
    let mut missing = Vec::new();
    for peer in peers.into_iter().flatten() {
        let setting = peer.get("setting").and_then(Value::as_str).unwrap_or_default();
        for run in peer.get("checks").and_then(Value::as_array).into_iter().flatten() {
            line(&format!("privacyIDEA, {WORKERS} workers, {setting}"), run)?;
        }
        missing.extend(peer.get("not_measured").and_then(Value::as_str).map(|why| format!("**privacyIDEA ({setting}) COULD NOT BE MEASURED**: {why}")));
    }
    for line in missing {
        sound = false;
        writeln!(out, "\n{line}")?;
    }
    for (own, n) in own.into_iter().flatten().zip(0..) {
        for peer in peers.into_iter().flatten() {
            let theirs = number(peer, &format!("/checks/{n}/checks_per_second"));
            if let (Some(ours), Some(theirs)) = (number(own, "/checks_per_second"), theirs.filter(|t| *t > 0.0)) {
                let setting = peer.get("setting").and_then(Value::as_str).unwrap_or_default();
                writeln!(out, "\nAt {:.0} at a time: {:.0} times privacyIDEA ({setting}).", number(own, "/at_a_time").unwrap_or(0.0), ours / theirs)?;
            }
        }
    }
    writeln!(out)?;
    Ok(sound)
}

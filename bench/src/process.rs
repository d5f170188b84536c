//! What a process costs, as the kernel counts it, and how it is started and ended.

use std::{
    fs, io,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Clock ticks per second of `/proc/*/stat`: 100 on every Linux that Rust's standard library knows.
const TICKS: f64 = 100.0;

/// Seconds of CPU that a process and its threads have used.
pub fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold anything; fields are counted after it.
    let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    fields.iter().sum::<f64>() / TICKS
}

/// Memory in MiB.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// All pages that are in memory; a page of a file that is mapped five times counts five times.
    pub rss: f64,
    /// Of these, what is no file's.
    pub anon: f64,
    /// Every page once.
    pub pss: f64,
    /// The most that `rss` ever was.
    pub peak: f64,
}

pub fn memory(pid: u32) -> Memory {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let kib = text.lines().find_map(|l| l.strip_prefix(name)?.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    Memory { rss: field("status", "VmRSS"), anon: field("status", "RssAnon"), pss: field("smaps_rollup", "Pss"), peak: field("status", "VmHWM") }
}

/// Starts a process whose words go to a file.
pub fn start(command: &mut Command, log: &Path) -> io::Result<Child> {
    let file = fs::OpenOptions::new().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()
}

/// Asks a process to end and waits; after ten seconds it is ended.
pub fn stop(child: &mut Child) -> io::Result<()> {
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    let patience = Instant::now() + Duration::from_secs(10);
    while child.try_wait()?.is_none() {
        if Instant::now() > patience {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other("a process did not end within ten seconds of being asked"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

//! A PostgreSQL server that was started for the bench: stopped as a loss of power would stop it, and started
//! again as it was.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::Stdio,
};

use tokio::process::Command;

use crate::{Fail, site};

/// What is needed to stop it.
pub struct Server {
    program: PathBuf,
    data: PathBuf,
    /// Its user and group, where they are not ours.
    other: Option<(u32, u32)>,
}

impl Server {
    /// By what it says of itself: it is on this machine, and we may look.
    pub async fn of(database: &site::Database) -> Result<Self, Fail> {
        let row = database.connect().await?.query_one("SELECT current_setting('data_directory')", &[]).await?;
        let data = PathBuf::from(row.get::<_, String>(0));
        let file = data.join("postmaster.pid");
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let pid: u32 = text.lines().next().unwrap_or_default().trim().parse()?;
        let program = fs::read_link(format!("/proc/{pid}/exe"))?.with_file_name("pg_ctl");
        let (its, ours) = (fs::metadata(&data)?, fs::metadata("/proc/self")?);
        let other = (its.uid() != ours.uid()).then(|| (its.uid(), its.gid()));
        Ok(Self { program, data, other })
    }

    /// At once: nothing is finished, nobody is told, and the next start recovers from the journal.
    pub async fn stop(&self) -> Result<(), Fail> { self.control(&["stop", "-m", "immediate"]).await }

    /// With the options that it had; back when it takes connections.
    pub async fn start(&self) -> Result<(), Fail> {
        // Of one that does not run it is a start, and unlike `start` it reads the options of before.
        self.control(&["restart", "-t", "60"]).await
    }

    async fn control(&self, words: &[&str]) -> Result<(), Fail> {
        let mut command = self.command();
        command.args(words).arg("-w").arg("-D").arg(&self.data).arg("-l").arg(self.data.join("bench.log"));
        // What it starts outlives it, and must not hold a pipe of ours.
        let status = command.current_dir(&self.data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await?;
        if status.success() { Ok(()) } else { Err(format!("pg_ctl {} of {} failed ({status})", words.join(" "), self.data.display()).into()) }
    }

    fn command(&self) -> Command {
        let Some((user, group)) = self.other else { return Command::new(&self.program) };
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups", "--"]).arg(&self.program);
        command
    }
}

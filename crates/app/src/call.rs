//! `countersign call`: a small telephone for the terminal.

use std::{net::IpAddr, process::ExitCode, time::Duration};

use countersign_server::config::read_secret;
use countersign_sip::{
    caller::{Line, Phone, PhoneSettings},
    g711::Law,
};

use crate::{
    Failure,
    term::{DIM, STRONG, good},
};

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
}

/// Calls, sends what is typed as keys, and says whether something is heard.
pub async fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut settings = PhoneSettings::new(args.ip, &args.from);
    if args.a_law {
        settings.law = Law::A;
    }
    if let Some(user) = args.user {
        let password = read_secret("COUNTERSIGN_SIP_PASSWORD", None)?.ok_or("set COUNTERSIGN_SIP_PASSWORD")?;
        settings.password = Some((user, password.expose().to_owned()));
    }
    let phone = Phone::start(settings).await?;
    let line = phone.call(&args.to).await?;
    anstream::println!("{STRONG}Answered.{STRONG:#} {DIM}Type keys and a line end; an empty line hangs up.{DIM:#}");
    let ended = talk(&line).await;
    let heard = line.ear(Clone::clone);
    anstream::println!("{DIM}{} packets of sound, {} lost, 99 of 100 within {} ms{DIM:#}", heard.packets, heard.lost, heard.gap_p99());
    if !ended {
        line.hang_up().await;
    }
    good("The call is over.");
    Ok(ExitCode::SUCCESS)
}

/// Whether the other side ended it.
async fn talk(line: &Line) -> bool {
    let (sender, mut keys) = tokio::sync::mpsc::channel(1);
    // Input that blocks has a thread of its own, and the process does not wait for it.
    std::thread::spawn(move || {
        for typed in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(typed).is_err() {
                return;
            }
        }
    });
    let mut sounding = false;
    loop {
        tokio::select! {
            typed = keys.recv() => match typed {
                Some(typed) if !typed.trim().is_empty() => {
                    if !line.press(typed.trim()).await {
                        anstream::println!("The other side takes no keys, or these are none: 0 to 9, star and hash.");
                    }
                }
                _ => return false,
            },
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                let now = line.ear(|ear| !ear.is_silent() && ear.packets > 0);
                if now != sounding {
                    anstream::println!("{DIM}{}{DIM:#}", if now { "… something is heard" } else { "… silence" });
                    sounding = now;
                }
                let said = line.said();
                if let Some(to) = said.refer {
                    anstream::println!("The other side transfers us to {to}.");
                    return false;
                }
                if said.ended {
                    anstream::println!("The other side hung up.");
                    return true;
                }
            }
        }
    }
}

//! Calls a SIP address and types keys, to try a flow from a terminal.
//!
//! ```console
//! cargo run -p countersign-sip --example call -- sip:+12025550100@127.0.0.1:5060
//! ```
//!
//! A line of keys is pressed when it ends; an empty one hangs up. `--law a` prefers A-law,
//! `--user NAME` with the password in the variable `SIP_PASSWORD` answers a challenge.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use countersign_sip::caller::{Line, Phone, PhoneSettings};
use countersign_sip::g711::Law;

const USAGE: &str = "call [--from NUMBER] [--ip ADDRESS] [--law u|a] [--user NAME] SIP-URI";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = PhoneSettings::new(IpAddr::V4(Ipv4Addr::LOCALHOST), "+12025550123");
    let (mut to, mut words) = (None, std::env::args().skip(1));
    while let Some(word) = words.next() {
        match word.as_str() {
            "--from" => settings.number = words.next().ok_or(USAGE)?,
            "--ip" => settings.ip = words.next().ok_or(USAGE)?.parse()?,
            "--law" => settings.law = if words.next().ok_or(USAGE)?.starts_with('a') { Law::A } else { Law::Mu },
            "--user" => settings.password = Some((words.next().ok_or(USAGE)?, std::env::var("SIP_PASSWORD")?)),
            other if !other.starts_with('-') => to = Some(other.to_owned()),
            _ => return Err(USAGE.into()),
        }
    }
    let phone = Phone::start(settings).await?;
    let line = phone.call(&to.ok_or(USAGE)?).await?;
    println!("answered; type keys and a line end, or only a line end to hang up");
    talk(&line).await?;
    let heard = line.ear(Clone::clone);
    println!("heard {} packets, {} lost, 99 of 100 within {} ms", heard.packets, heard.lost, heard.gap_p99());
    line.hang_up().await;
    Ok(())
}

async fn talk(line: &Line) -> Result<(), Box<dyn std::error::Error>> {
    let (sender, mut keys) = tokio::sync::mpsc::channel(1);
    // Input that blocks has its own thread, and the process does not wait for it.
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
                Some(typed) if !typed.is_empty() => {
                    if !line.press(typed.trim()).await {
                        println!("the other side takes no keys, or these are none");
                    }
                }
                _ => return Ok(()),
            },
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                let now = line.ear(|ear| !ear.is_silent() && ear.packets > 0);
                if now != sounding {
                    println!("{}", if now { "… something is heard" } else { "… silence" });
                    sounding = now;
                }
                if let Some(to) = line.said().refer {
                    println!("the other side transfers us to {to}");
                    return Ok(());
                }
                if line.said().ended {
                    println!("the other side hung up");
                    return Ok(());
                }
            }
        }
    }
}

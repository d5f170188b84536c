//! A Kamailio that judges and signs calls with its module secsipid: an ordinary process on a port of its
//! own, asked by INVITE as a provider would ask it.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::X5U;
use super::programs::{Folder, missing};

/// Long enough for a machine that does much else.
const LIMIT: Duration = Duration::from_secs(30);

/// A port for a program, below those that the system gives to whoever does not ask for one.
fn free() -> u16 {
    let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), ());
    (0..10_000)
        .map(|n| 10_000 + ((seed % 14_000 + n * 7919) % 14_000) as u16)
        .find(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port")
}

/// What Kamailio checks of certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// As its README shows: whatever key it is given is the right one.
    Readme,
    /// With `CertVerify`: their time, their way to a root, and a revocation list.
    Certificates,
}

/// What Kamailio is given.
pub struct Invite<'a> {
    /// The values of its Identity headers.
    pub identity: &'a [String],
    /// The user of From, without `+`.
    pub from: &'a str,
    /// The user of the Request-URI, without `+`.
    pub to: &'a str,
}

/// A running one.
pub struct Kamailio {
    child: Child,
    folder: Folder,
    /// Where we ask from, and where it sends what it signs.
    socket: UdpSocket,
    port: u16,
    asked: AtomicU32,
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // It ends its processes itself.
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
    }
}

/// The program and its modules, if the one that is needed is among them.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join("kamailio"))
        .find(|file| file.is_file())?;
    let places = ["/usr/lib", "/usr/lib64"].map(Path::new);
    let below = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let modules = below
        .map(|entry| entry.path())
        .chain(places.map(Path::to_owned))
        .map(|place| place.join("kamailio/modules"))
        .find(|place| place.join("secsipid.so").is_file())?;
    Some((program, modules))
}

impl Kamailio {
    /// One that trusts this root, and signs with this key. `None`: it is not installed, which was said.
    pub fn start(name: &str, setup: Setup, root_pem: &str, key_pem: &str) -> Option<Self> {
        let Some((program, modules)) = programs() else {
            missing("Kamailio with its module secsipid (kamailio, kamailio-secsipid-modules)");
            return None;
        };
        let folder = Folder::new(&format!("kamailio-{name}"));
        let (root, key) = (
            folder.put("root.pem", root_pem),
            folder.put("key.pem", key_pem),
        );
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let ours = socket.local_addr().unwrap().port();
        let port = free();
        let mut config = format!(
            "debug=0\nlog_stderror=yes\nchildren=1\ndisable_tcp=yes\nlisten=udp:127.0.0.1:{port}\nmpath=\"{}\"\n",
            modules.display()
        );
        for module in ["sl", "pv", "xlog", "textops", "secsipid"] {
            writeln!(config, "loadmodule \"{module}.so\"").unwrap();
        }
        if setup == Setup::Certificates {
            // The time, roots of our own, a list.
            for option in [
                "CertVerify=21".to_owned(),
                format!("CertCAFile={root}"),
                format!("CertCRLFile={}/list.crl", folder.0.display()),
            ] {
                writeln!(config, "modparam(\"secsipid\", \"libopt\", \"{option}\")").unwrap();
            }
        }
        // Who signs gets the number from the call: with the + as the README does it, or without.
        write!(
            config,
            "request_route {{\n\
             if ($hdr(X-Sign) != $null) {{\n\
             $du = \"sip:127.0.0.1:{ours}\";\n\
             if ($hdr(X-Plus) != $null) {{ secsipid_add_identity(\"$fU\", \"$rU\", \"$hdr(X-Sign)\", \"\", \"{X5U}\", \"{key}\"); }}\n\
             else {{ secsipid_add_identity(\"$(fU{{s.strip,1}})\", \"$(rU{{s.strip,1}})\", \"$hdr(X-Sign)\", \"\", \"{X5U}\", \"{key}\"); }}\n\
             forward();\nexit;\n}}\n\
             if ($hdr(X-Fetch) != $null) {{\n\
             secsipid_check_identity(\"\");\n$var(file) = $rc;\n$var(key) = $rc;\n\
             }} else {{\n\
             secsipid_check_identity(\"{folder}/$hdr(X-File)\");\n$var(file) = $rc;\n\
             secsipid_check_identity_pubkey(\"$(hdr(X-Key){{s.decode.base64}})\");\n$var(key) = $rc;\n}}\n\
             append_to_reply(\"X-Verdict: $var(file) $var(key)\\r\\n\");\n\
             sl_send_reply(\"603\", \"Judged\");\n}}\n\
             event_route[core:worker-one-init] {{\nxlog(\"L_ALERT\", \"it is up\\n\");\n}}\n",
            folder = folder.0.display(),
        )
        .unwrap();
        let file = folder.put("kamailio.cfg", config);
        let log = std::fs::File::create(folder.0.join("log")).unwrap();
        let mut command = Command::new(program);
        command
            .args(["-DD", "-E", "-m", "16", "-M", "4", "-f", &file, "-Y"])
            .arg(&folder.0)
            .stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let kamailio = Self {
            child: command.spawn().unwrap(),
            folder,
            socket,
            port,
            asked: AtomicU32::new(0),
        };
        let until = Instant::now() + LIMIT;
        while !kamailio.said().contains("it is up") {
            assert!(
                Instant::now() < until,
                "Kamailio does not start: {}",
                kamailio.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(kamailio)
    }

    fn said(&self) -> String {
        let log = std::fs::read(self.folder.0.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Which revocation list it reads from now on.
    pub fn put_list(&self, der: &[u8]) {
        self.folder.put("list.crl", der);
    }

    /// The return codes of `secsipid_check_identity` with the certificate in a file, and of
    /// `secsipid_check_identity_pubkey` with the same as a text. 1: it holds.
    pub fn judge(&self, invite: &Invite<'_>, certificate: &[u8]) -> [i32; 2] {
        self.folder.put("certificate.pem", certificate);
        let key = STANDARD.encode(certificate);
        self.verdict(
            invite,
            &format!("X-File: certificate.pem\r\nX-Key: {key}\r\n"),
        )[..2]
            .try_into()
            .unwrap()
    }

    /// The same where Kamailio fetches the certificate itself.
    pub fn judge_and_fetch(&self, invite: &Invite<'_>) -> i32 {
        self.verdict(invite, "X-Fetch: 1\r\n")[0]
    }

    fn verdict(&self, invite: &Invite<'_>, more: &str) -> Vec<i32> {
        let reply = self.ask(invite, more);
        let line = reply
            .lines()
            .find_map(|line| line.strip_prefix("X-Verdict: "));
        let Some(line) = line else {
            panic!("no verdict: {reply}\n{}", self.said())
        };
        line.split_whitespace()
            .map(|code| code.parse().unwrap())
            .collect()
    }

    /// The Identity header of a call that it signed and sent on.
    pub fn sign(&self, from: &str, to: &str, attest: &str, plus: bool) -> String {
        let invite = Invite {
            identity: &[],
            from,
            to,
        };
        let plus = if plus { "X-Plus: 1\r\n" } else { "" };
        let sent_on = self.ask(&invite, &format!("X-Sign: {attest}\r\n{plus}"));
        let header = sent_on
            .lines()
            .find_map(|line| line.strip_prefix("Identity: "));
        header
            .unwrap_or_else(|| panic!("not signed: {sent_on}\n{}", self.said()))
            .trim()
            .to_owned()
    }

    /// What comes back for an INVITE: an answer, or the INVITE itself, sent on to where it came from.
    fn ask(&self, invite: &Invite<'_>, more: &str) -> String {
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        let (ours, name) = (
            self.socket.local_addr().unwrap().port(),
            format!("call{n}@example.com"),
        );
        let identity: String = invite
            .identity
            .iter()
            .map(|value| format!("Identity: {value}\r\n"))
            .collect();
        let text = format!(
            "INVITE sip:+{}@127.0.0.1:{} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{ours};branch=z9hG4bK{n}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+{}@example.com>;tag={n}\r\nTo: <sip:+12025550101@example.com>\r\n\
             Call-ID: {name}\r\nCSeq: 1 INVITE\r\nContact: <sip:127.0.0.1:{ours}>\r\n{more}{identity}Content-Length: 0\r\n\r\n",
            invite.to, self.port, invite.from,
        );
        self.socket
            .send_to(text.as_bytes(), ("127.0.0.1", self.port))
            .unwrap();
        let mut buffer = vec![0; 65_536];
        loop {
            let length = self
                .socket
                .recv(&mut buffer)
                .unwrap_or_else(|e| panic!("no answer: {e}\n{text}\n{}", self.said()));
            let reply = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if reply.contains(&format!("Call-ID: {name}\r\n")) {
                return reply;
            }
        }
    }
}

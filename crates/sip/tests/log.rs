//! What is written: the stack would write numbers and keys, and a filter on its target holds them back.

#![allow(clippy::unwrap_used, reason = "in a test, what is not expected may end it")]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use countersign_sip::caller::{Phone, PhoneSettings};
use countersign_sip::{Answer, CallKey, Ended, Flow, Gather, Gateway, Incoming, Settings, Step, Steps, is_safe_to_log};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps all that is written: first what may be, then the rest.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<(String, String)>>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut kept = self.0.lock().unwrap();
        let (safe, rest) = &mut *kept;
        let meta = event.metadata();
        let of_us = ["countersign", "rsipstack", module_path!()].iter().any(|target| meta.target().starts_with(target));
        if of_us {
            event.record(&mut Text(if is_safe_to_log(meta.target(), meta.level()) { safe } else { rest }));
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Asks(tokio::sync::mpsc::UnboundedSender<String>);

#[async_trait]
impl Flow for Asks {
    async fn incoming(&self, call: &Incoming) -> Answer {
        tracing::info!(?call, "a call");
        Answer::Accept(Steps::new([Step::Gather(Gather { max: 4, timeout: Duration::from_secs(20), hash_ends: true, secret: true })]))
    }
    async fn digits(&self, _: &CallKey, keys: &str) -> Option<Steps> {
        let _ = self.0.send(keys.to_owned());
        Some(Steps::new([Step::HangUp]))
    }
    async fn no_keys(&self, _: &CallKey) -> Option<Steps> {
        None
    }
    async fn hung_up(&self, _: &CallKey, _: Ended) {
        let _ = self.0.send("end".into());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_and_no_key_is_written_where_the_target_of_the_stack_is_held() {
    let kept = Kept::default();
    tracing::subscriber::set_global_default(kept.clone()).unwrap();
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let settings = Settings { peers: vec!["127.0.0.1".parse().unwrap()], ..Settings::new((here, 0).into()) };
    let gateway = Gateway::start(settings, Arc::new(Asks(sender))).await.unwrap();
    let phone = Phone::start(PhoneSettings::new(here, "+12025550123")).await.unwrap();
    let line = phone.call(&format!("sip:+12025550100@{}", gateway.address())).await.unwrap();
    for key in ["7", "3", "9", "1"] {
        assert_eq!(line.info("application/dtmf-relay", &format!("Signal={key}\r\n")).await, 200);
    }
    assert_eq!(told.recv().await.unwrap(), "7391");
    assert_eq!(told.recv().await.unwrap(), "end");
    let (safe, rest) = kept.0.lock().unwrap().clone();
    for secret in ["12025550123", "12025550100", "Signal="] {
        assert!(!safe.contains(secret), "{secret} is written");
        assert!(rest.contains(secret), "the stack writes {secret} no more under its target: look where");
    }
    assert!(safe.contains("a call"), "{safe}");
}

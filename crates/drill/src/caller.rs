//! Somebody at a telephone: signed webhooks go in, TwiML comes back.

use countersign_core::id::CallId;
use countersign_server::telephony::twilio::signature::sign;

use crate::{
    Halt,
    stage::{CENTER, Stage, TOKEN, URL},
    wire::{Ask, Page, between, unescape},
};

/// The fields of a webhook.
pub type Fields = Vec<(String, String)>;

/// What the network says of the calling number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// Full attestation: the carrier knows the customer and their right to the number.
    Full,
    /// Nothing is signed, as on most calls and on spoofed ones.
    Not,
    /// The signature does not hold.
    Broken,
}

impl Signed {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "TN-Validation-Passed-A",
            Self::Not => "No-TN-Validation",
            Self::Broken => "TN-Validation-Failed",
        }
    }
}

/// One call, seen from the caller's end.
#[derive(Clone)]
pub struct Caller {
    stage: Stage,
    /// Our id of the call.
    pub id: CallId,
    sid: String,
    from: Option<String>,
    signed: Signed,
    /// The last answer.
    pub twiml: String,
    /// The last webhook: its path and fields.
    pub last: (String, Fields),
}

/// Posts a webhook with a signature of one's own making.
pub async fn post(stage: &Stage, path: &str, fields: &Fields, signature: &str) -> Result<Page, Halt> {
    Ask::post(path, fields).with("x-twilio-signature", signature).send(stage.router()).await
}

/// The signature that Twilio would give.
pub fn signature(path: &str, fields: &Fields) -> String { sign(&TOKEN.into(), &format!("{URL}{path}"), fields) }

impl Caller {
    /// A telephone that has not rung yet.
    pub fn new(stage: &Stage, from: Option<&str>, signed: Signed) -> Self {
        let sid = stage.call_sid();
        let id = CallId(stage.runner().vault.index.blind("twilio", &sid).0);
        Self { stage: stage.clone(), id, sid, from: from.map(str::to_owned), signed, twiml: String::new(), last: Default::default() }
    }

    /// Picks up and dials.
    pub async fn dial(stage: &Stage, from: Option<&str>, signed: Signed) -> Result<Self, Halt> {
        let mut caller = Self::new(stage, from, signed);
        caller.to("/twilio/voice", caller.fields(&[])).await?;
        Ok(caller)
    }

    /// The fields of its webhooks.
    pub fn fields(&self, more: &[(&str, &str)]) -> Fields {
        let mut fields: Fields = [
            ("CallSid", self.sid.as_str()), ("AccountSid", &format!("AC{}", "0".repeat(32))), ("From", self.from.as_deref().unwrap_or("anonymous")),
            ("To", CENTER), ("CallStatus", "in-progress"), ("Direction", "inbound"), ("StirVerstat", self.signed.name()),
        ].into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        for (name, value) in more {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        fields
    }

    async fn to(&mut self, path: &str, fields: Fields) -> Result<(), Halt> {
        self.last = (path.to_owned(), fields);
        let page = post(&self.stage, path, &self.last.1, &signature(path, &self.last.1)).await?;
        match page.status {
            200 => self.twiml = page.body,
            204 => {}
            // Too busy is an answer of a flood, and 404 of a call that never began.
            other => return Err(Halt::broken("a webhook", format!("{other} {}", page.text()))),
        }
        Ok(())
    }

    /// Where keys go: what the last answer says.
    pub fn action(&self) -> Option<String> { between(&self.twiml, " action=\"", "\"").and_then(|url| unescape(url).strip_prefix(URL).map(str::to_owned)) }

    /// Keys digits, if anything can be keyed now. The hash that ends them is Twilio's business.
    pub async fn press(&mut self, keys: &str) -> Result<(), Halt> {
        match self.action() {
            Some(path) => self.to(&path, self.fields(&[("Digits", keys)])).await,
            None => Ok(()),
        }
    }

    /// One after the other, as answers to one question each.
    pub async fn presses(&mut self, keys: &[&str]) -> Result<(), Halt> {
        for keys in keys {
            self.press(keys).await?;
        }
        Ok(())
    }

    /// The telephone asks what to do now.
    pub async fn listen(&mut self) -> Result<(), Halt> { self.to("/twilio/resume?n=0", self.fields(&[])).await }

    /// Hangs up.
    pub async fn hang_up(&mut self) -> Result<(), Halt> { self.to("/twilio/status", self.fields(&[("CallStatus", "completed")])).await }

    /// The words of the last answer.
    pub fn words(&self) -> String {
        let said = self.twiml.split("<Say ").skip(1).filter_map(|part| between(part, ">", "</Say>")).map(unescape);
        said.collect::<Vec<_>>().join(" ")
    }

    /// A code that was read out: a run of digits of this length, said one by one.
    pub fn spoken(&self, digits: usize) -> Option<String> {
        let words = self.words();
        let runs = words.split(|c: char| !(c.is_ascii_digit() || c == ',' || c == ' '));
        runs.map(|run| run.chars().filter(char::is_ascii_digit).collect::<String>()).find(|run| run.len() == digits)
    }

    /// The machine cut the line.
    pub fn is_cut(&self) -> bool { self.twiml.contains("<Hangup/>") }
}

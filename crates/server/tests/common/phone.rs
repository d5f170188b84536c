//! A telephone at the other end of Twilio: it posts signed webhooks and hears TwiML.

use axum::{Router, body::Body, http::{Request, header}};
use countersign_core::{claim::IndexKey, id::CallId};
use countersign_server::telephony::twilio::signature::sign;

use super::{
    APP_NUMBER, House, JUNIPER, World,
    pages::{FORM, Page, form, send, unescape},
    stream::{self, Stream},
};

pub type Fields = Vec<(String, String)>;

/// One call, seen from the caller's end.
#[derive(Clone)]
pub struct Phone {
    pub router: Router,
    pub sid: String,
    pub id: CallId,
    from: Option<String>,
    to_number: &'static str,
    ours: bool,
    stir: &'static str,
    house: House,
    /// The last answer.
    pub twiml: String,
    /// The last request, for whoever wants to send it again.
    pub last: (String, Fields),
}

/// A webhook as Twilio signs it.
pub fn webhook(path: &str, fields: &[(String, String)]) -> Request<Body> { webhook_of(&JUNIPER, path, fields) }

/// A webhook as Twilio signs it for one company.
pub fn webhook_of(house: &House, path: &str, fields: &[(String, String)]) -> Request<Body> {
    let signature = sign(&house.token.into(), &format!("{}{path}", house.url), fields);
    Request::post(path).header("x-twilio-signature", signature).header(header::CONTENT_TYPE, FORM).body(Body::from(form(fields))).unwrap()
}

fn index(world: &World) -> &IndexKey { &world.app.runner.vault.index }

impl Phone {
    /// Picks up and dials.
    pub async fn dial(world: &World, from: Option<&str>, stir: &'static str) -> Self {
        let mut phone = Self::new(world, from, stir);
        let page = phone.to("/twilio/voice", phone.fields(&[])).await;
        phone.heard(page);
        phone
    }

    /// Dials, with these fields besides.
    pub async fn begins(&mut self, more: &[(&str, &str)]) {
        let page = self.to("/twilio/voice", self.fields(more)).await;
        self.heard(page);
    }

    /// Dials the number that only the portal dials; its token follows by itself.
    pub async fn dial_with_token(world: &World, from: Option<&str>, token: &str) -> Self {
        let mut phone = Self::dial_app(world, from).await;
        phone.press(token).await;
        phone
    }

    /// Dials the number that only the portal dials.
    pub async fn dial_app(world: &World, from: Option<&str>) -> Self {
        let mut phone = Self::new(world, from, "TN-Validation-Passed-A");
        phone.to_number = APP_NUMBER;
        let page = phone.to("/twilio/voice", phone.fields(&[])).await;
        phone.heard(page);
        phone
    }

    /// Answers a call that we make.
    pub async fn answer(world: &World, call: CallId) -> Self {
        let mut phone = Self { id: call, ..Self::new(world, None, "No-TN-Validation") };
        let page = phone.to(&format!("/twilio/answered?call={call}"), phone.fields(&[("Direction", "outbound-api")])).await;
        phone.heard(page);
        phone.ours = true;
        phone
    }

    /// The code that was read out last: eight digits, or six.
    #[track_caller]
    pub fn spoken_code(&self) -> String {
        let words = self.words();
        let (_, rest) = words.split_once("Type this code there: ").unwrap_or_else(|| panic!("no code in {words:?}"));
        rest.split('.').next().unwrap().chars().filter(char::is_ascii_digit).collect()
    }

    /// A telephone that has not rung yet.
    pub fn new(world: &World, from: Option<&str>, stir: &'static str) -> Self {
        let sid = world.call_sid();
        let id = CallId(index(world).blind("twilio", &sid).0);
        Self { router: world.router.clone(), id, sid, from: from.map(str::to_owned), to_number: "+12025550100", ours: false, stir, house: world.house(), twiml: String::new(), last: Default::default() }
    }

    /// The same telephone, answered by another server.
    pub fn at(mut self, world: &World) -> Self {
        self.router = world.router.clone();
        self
    }

    pub fn fields(&self, more: &[(&str, &str)]) -> Fields {
        let mut fields = vec![
            ("CallSid".to_owned(), self.sid.clone()), ("AccountSid".into(), format!("AC{}", "0".repeat(32))),
            ("From".into(), self.from.clone().unwrap_or_else(|| "anonymous".into())), ("To".into(), self.to_number.into()),
            ("CallStatus".into(), "in-progress".into()), ("Direction".into(), "inbound".into()), ("StirVerstat".into(), self.stir.into()),
        ];
        for (name, value) in more {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        fields
    }

    async fn to(&mut self, path: &str, fields: Fields) -> Page {
        self.last = (path.to_owned(), fields.clone());
        send(&self.router, webhook_of(&self.house, path, &fields)).await
    }

    #[track_caller]
    fn heard(&mut self, page: Page) {
        page.ok();
        assert_eq!(page.header("content-type"), "text/xml; charset=utf-8");
        self.twiml = page.body;
    }

    /// Where keys go: what the last answer says.
    #[track_caller]
    pub fn action(&self) -> String {
        let (_, rest) = self.twiml.split_once(" action=\"").unwrap_or_else(|| panic!("nothing can be keyed now: {}", self.twiml));
        unescape(rest.split('"').next().unwrap()).strip_prefix(self.house.url).unwrap().to_owned()
    }

    /// Keys digits; the hash that ends them is Twilio's business.
    pub async fn press(&mut self, keys: &str) -> &mut Self {
        let page = self.to(&self.action(), self.fields(&[("Digits", keys)])).await;
        self.heard(page);
        self
    }

    /// Keys digits one after the other, as answers to one question each.
    pub async fn presses(&mut self, keys: &[&str]) -> &mut Self {
        for keys in keys {
            self.press(keys).await;
        }
        self
    }

    /// Says something to Twilio's recogniser, which is so sure of it.
    pub async fn says(&mut self, words: &str, confidence: &str) -> &mut Self {
        let page = self.to(&self.action(), self.fields(&[("SpeechResult", words), ("Confidence", confidence)])).await;
        self.heard(page);
        self
    }

    /// Keys nothing until Twilio gives up.
    pub async fn silent(&mut self) -> &mut Self {
        let page = self.to(&self.action(), self.fields(&[])).await;
        self.heard(page);
        self
    }

    /// Where the stream goes that the last answer opens.
    #[track_caller]
    pub fn stream_path(&self) -> String {
        let (_, rest) = self.twiml.split_once("<Connect><Stream url=\"").unwrap_or_else(|| panic!("nobody listens now: {}", self.twiml));
        unescape(rest.split('"').next().unwrap()).strip_prefix(&stream::url(&self.house, "")).unwrap().to_owned()
    }

    /// Opens that stream at a server of ours, up to the tone.
    pub async fn stream(&self, router: &Router) -> Stream {
        let at = stream::serve(router).await;
        let mut stream = Stream::open(at, &self.house, &self.stream_path()).await.unwrap_or_else(|status| panic!("the stream was refused with {status}"));
        stream.begins(&self.sid).await;
        stream.hears_the_tone().await;
        stream
    }

    /// Says something after the tone, and is silent: the stream is closed, and Twilio asks what is next.
    pub async fn speaks(&mut self, samples: &[i16]) -> &mut Self {
        let mut stream = self.stream(&self.router).await;
        stream.sound(samples).await;
        stream.sound(&[0; 9 * 8_000]).await;
        stream.is_closed().await;
        self.goes_on().await
    }

    /// The verb that held the call is over, and Twilio follows the redirection behind it.
    pub async fn goes_on(&mut self) -> &mut Self {
        let (_, rest) = self.twiml.split_once("<Redirect method=\"POST\">").unwrap_or_else(|| panic!("nothing follows: {}", self.twiml));
        let path = unescape(rest.split('<').next().unwrap()).strip_prefix(self.house.url).unwrap().to_owned();
        let page = self.to(&path, self.fields(&[])).await;
        self.heard(page);
        self
    }

    /// Twilio was told to ask what to do next, or the music is over: it asks.
    pub async fn listen(&mut self) -> &mut Self {
        let path = if self.ours { format!("/twilio/resume?n=0&call={}", self.id) } else { "/twilio/resume?n=0".to_owned() };
        let page = self.to(&path, self.fields(&[])).await;
        self.heard(page);
        self
    }

    /// Sends the last request once more.
    pub async fn again(&self) -> Page { send(&self.router, webhook_of(&self.house, &self.last.0, &self.last.1)).await }

    pub async fn hang_up(&mut self) {
        let path = if self.ours { format!("/twilio/status?call={}", self.id) } else { "/twilio/status".to_owned() };
        self.to(&path, self.fields(&[("CallStatus", "completed")])).await.is(204);
    }

    /// The words of the last answer.
    pub fn words(&self) -> String { self.said().into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ") }

    /// The words of the last answer with their languages.
    pub fn said(&self) -> Vec<(String, String)> {
        self.twiml.split("<Say ").skip(1).map(|part| {
            let (attributes, rest) = part.split_once('>').unwrap();
            let lang = attributes.split('"').nth(1).unwrap().to_owned();
            (lang, unescape(rest.split("</Say>").next().unwrap()))
        }).collect()
    }

    /// What the last answer makes the telephone do after the words.
    pub fn does(&self) -> String {
        let mut out = Vec::new();
        if let Some((_, rest)) = self.twiml.split_once("numDigits=\"") && !self.twiml.contains("<Redirect") {
            out.push(format!("[up to {} keys]", rest.split('"').next().unwrap()));
        }
        if let Some((_, rest)) = self.twiml.split_once("<Play ") {
            let file = rest.split('>').nth(1).unwrap().split('<').next().unwrap();
            out.push(format!("[plays {}]", file.strip_prefix(self.house.url).unwrap_or(file)));
        }
        for (mark, what) in [("<Pause", "[silence]"), ("<Conference", "[in the agent's conference]"), ("<Hangup/>", "[hangs up]")] {
            if self.twiml.contains(mark) {
                out.push(what.to_owned());
            }
        }
        out.join(" ")
    }

    #[track_caller]
    pub fn hears(&mut self, words: &str) -> &mut Self {
        assert!(self.words().contains(words), "the caller hears {:?}, not {words:?}", self.words());
        self
    }

    #[track_caller]
    pub fn hears_nothing_of(&mut self, private: &[&str]) -> &mut Self {
        super::hides(&unescape(&self.twiml), private);
        self
    }

    /// Whether somebody would listen now.
    pub fn is_listened_to(&self) -> bool { self.twiml.contains("<Connect><Stream ") }

    #[track_caller]
    pub fn is_cut(&self) { assert!(self.twiml.contains("<Hangup/>"), "{}", self.twiml); }

    #[track_caller]
    pub fn is_bridged(&self) { assert!(self.twiml.contains(&format!(">{}/agent_", self.id)) && self.twiml.contains("</Conference>"), "{}", self.twiml); }

    #[track_caller]
    pub fn plays(&self, music: &str) { assert!(self.does().contains(&format!("[plays /assets/music/{music}.wav]")), "{}", self.twiml); }
}

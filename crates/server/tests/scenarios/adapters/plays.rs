//! Every scenario of the field study, played by a caller of whatever kind. The scenarios in full, with
//! everything that must not happen, are the other tests of this crate; here it is the way over the
//! adapter that counts.

use std::sync::Arc;

use countersign_core::{call::{Event, Params}, time::Span};
use countersign_server::{intel::{Known, OnFailure, Sim, Use}, outbox::provider::Channel};

use crate::{
    common::{
        Setup, World,
        caller::{Caller, Dials, Kind, Then, from},
        desk::Desk,
        hides,
        pages::Page,
        people::*,
        portal::Portal,
    },
    risk::Oracle,
    voice,
};

const NEW: &str = "+12025550150";
const WITHHELD: Dials = Dials { from: None, token: false, failed: false };

/// What came of a scenario on an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// As in the study's table.
    Yes,
    /// Another way.
    Otherwise(&'static str),
    /// Not at all.
    Cannot(&'static str),
}
use Came::{Cannot, Otherwise, Yes};

const BY_HAND: &str = "the agent sends the caller back to the flow by hand: what is with an agent is out of our reach";
const BY_DENY_LIST: &str = "by the deny list and what calls show; nothing is known of the number's signature";

/// The scenarios by name.
pub const NAMES: [&str; 22] = [
    "netflix_service_code", "amex_step_up", "united_recognition", "amazon_honours_totp", "vanguard_voice", "verbal_password", "youtube_hybrid", "apple_hold_music",
    "walmart_call_me", "hotelx_misheard", "retailer_gives_email", "which_number_to_text", "password_by_phone_number", "ssn_asked", "utility_reads_address",
    "ups_online_only", "security_follow_up", "risky_call", "silent_authentication", "flex_push", "number_lookup", "field_notes",
];

/// Each in a box: all of them side by side do not fit on a stack.
pub async fn play(name: &str, kind: Kind) -> Came {
    match name {
        "netflix_service_code" => Box::pin(netflix_service_code(kind)).await,
        "amex_step_up" => Box::pin(amex_step_up(kind)).await,
        "united_recognition" => Box::pin(united_recognition(kind)).await,
        "amazon_honours_totp" => Box::pin(amazon_honours_totp(kind)).await,
        "vanguard_voice" => Box::pin(vanguard_voice(kind)).await,
        "verbal_password" => Box::pin(verbal_password(kind)).await,
        "youtube_hybrid" => Box::pin(youtube_hybrid(kind)).await,
        "apple_hold_music" => Box::pin(apple_hold_music(kind)).await,
        "walmart_call_me" => Box::pin(walmart_call_me(kind)).await,
        "hotelx_misheard" => Box::pin(hotelx_misheard(kind)).await,
        "retailer_gives_email" => Box::pin(retailer_gives_email(kind)).await,
        "which_number_to_text" => Box::pin(which_number_to_text(kind)).await,
        "password_by_phone_number" => Box::pin(password_by_phone_number(kind)).await,
        "ssn_asked" => Box::pin(ssn_asked(kind)).await,
        "utility_reads_address" => Box::pin(utility_reads_address(kind)).await,
        "ups_online_only" => Box::pin(ups_online_only(kind)).await,
        "security_follow_up" => Box::pin(security_follow_up(kind)).await,
        "risky_call" => Box::pin(risky_call(kind)).await,
        "silent_authentication" => Box::pin(silent_authentication(kind)).await,
        "flex_push" => Box::pin(flex_push(kind)).await,
        "number_lookup" => Box::pin(number_lookup(kind)).await,
        "field_notes" => Box::pin(field_notes(kind)).await,
        other => panic!("no scenario {other}"),
    }
}

/// Takes a call, and the caller is put through.
async fn take(desk: &mut Desk, caller: &mut Box<dyn Caller>) -> Page {
    desk.call = caller.id();
    let page = desk.act("accept", &[]).await;
    page.ok();
    caller.listen().await;
    caller.then(Then::Agent);
    page
}

fn reached(caller: &dyn Caller) -> Came { if caller.sent_back() == 0 { Yes } else { Otherwise(BY_HAND) } }

/// Ana with her PIN, on the line with somebody.
pub async fn with_a_pin(world: &World, kind: Kind, desk: &mut Desk) -> Box<dyn Caller> {
    let mut caller = kind.dial(world, from(ANA_LINE)).await;
    caller.all(&["2", "4071", "1"]).await;
    assert_eq!(take(desk, &mut caller).await.level(), "authenticated");
    caller
}

/// Ana without any proof, on the line with somebody.
async fn known(world: &World, kind: Kind, desk: &mut Desk) -> Box<dyn Caller> {
    let mut caller = kind.dial(world, from(ANA_LINE)).await;
    caller.all(&["1", "0", "1"]).await;
    assert_eq!(take(desk, &mut caller).await.level(), "identified");
    caller
}

/// A texted code in the middle of a call.
async fn by_text(world: &World, desk: &Desk, caller: &mut Box<dyn Caller>, action: &str) {
    desk.prove("sms_code", action).await.ok();
    caller.listen().await;
    caller.then(Then::Keys(12));
    let letter = world.letter().await;
    caller.keys(&letter.code()).await;
    caller.hears("Thank you, that was accepted.");
    caller.then(Then::Agent);
}

async fn netflix_service_code(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let code = Portal::enter(&world, "10004711").await.code().await;
    let mut caller = kind.dial(&world, from(STRANGER)).await;
    caller.hears("For English, press 1.");
    caller.all(&["1", "1"]).await;
    caller.hears("Please enter the code for the phone.");
    caller.keys(&code).await;
    caller.hears("Thank you, that was accepted.");
    caller.keys("1").await;
    assert_eq!(take(&mut robin, &mut caller).await.level(), "authenticated");
    robin.reveal("name").await.shows("Ana Torres");
    // Once.
    let mut again = kind.dial(&world, from(STRANGER)).await;
    again.all(&["1", "1", &code]).await;
    again.hears("No more tries are possible this way.");
    hides(&world.log().await, &[&code]);
    Yes
}

async fn amex_step_up(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let (mut robin, mut sam) = (world.robin().await, world.sam().await);
    let mut caller = with_a_pin(&world, kind, &mut robin).await;
    robin.change_phone(NEW).await.says("Not permitted now");
    robin.prove("sms_code", "change:phone").await.shows("You hear nothing; stay on the line.");
    caller.listen().await;
    caller.hears("To change the phone number on your account, we need to check it is you.");
    caller.hears("The agent cannot hear your keys.");
    caller.then(Then::Keys(12));
    let letter = world.letter().await;
    letter.went_to(Channel::Sms, ANA_LINE).reads("Not you? Call +1 202 555 0100");
    caller.keys(if letter.code() == "000000" { "000001" } else { "000000" }).await;
    caller.hears("That was not accepted. Please try again.");
    caller.keys(&letter.code()).await;
    caller.then(Then::Agent);
    assert_eq!(robin.panel().await.level(), "strong");
    robin.hand_over("specialists").await;
    caller.listen().await;
    caller.hears("A specialist will be with you soon.");
    caller.then(Then::Hold("calm".into()));
    assert_eq!(take(&mut sam, &mut caller).await.level(), "strong");
    sam.change_phone(NEW).await.says("Done.");
    sam.end().await.ok();
    caller.listen().await;
    caller.then(Then::HangUp);
    hides(&world.log().await, &[&letter.code(), "4071", NEW]);
    reached(caller.as_ref())
}

async fn united_recognition(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let mut caller = kind.dial(&world, from(ANA_LINE)).await;
    caller.hears("If you are calling about the delivery due on Thursday, June 4, press 1.");
    hides(&caller.words(), &ANA_PRIVATE);
    caller.all(&["1", "0", "1"]).await;
    let page = take(&mut robin, &mut caller).await;
    assert_eq!(page.level(), "identified");
    page.shows("about what is coming up").hides(&ANA_PRIVATE);
    Yes
}

async fn amazon_honours_totp(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let mut caller = kind.dial(&world, from(LIAM_LINE)).await;
    caller.hears("Please enter the code from your authenticator app.");
    // Another way is not a weaker one.
    caller.keys("*").await;
    caller.hears("Please enter the code for the phone.");
    caller.all(&["0", "1"]).await;
    take(&mut robin, &mut caller).await.lacks("sms_code");
    robin.prove("sms_code", "change:phone").await.says("this factor cannot be used on this call");
    robin.prove("totp", "").await.ok();
    caller.listen().await;
    caller.hears("Please enter the code from your authenticator app.");
    caller.keys(&liam_code(world.now())).await;
    assert_eq!(robin.panel().await.level(), "authenticated");
    assert!(world.deliver().await.is_empty());
    reached(caller.as_ref())
}

async fn vanguard_voice(kind: Kind) -> Came {
    if kind == Kind::Asterisk {
        return Otherwise("by Asterisk's external media, where it is turned on: a test of its own plays it");
    }
    if !kind.hears() {
        return Cannot("it gives us no sound of the caller: by SIP, and by Twilio's media streams, a voice can be compared");
    }
    let phrase = |seed| voice::ana(seed).samples().iter().map(|s| (s * 32_767.0) as i16).collect::<Vec<i16>>();
    let world = World::with(Setup { params: Params { voice: Some(voice::settings(&[kind.adapter()])), ..Params::default() }, ..kind.setup() }).await;
    // Beside the calls: it takes seconds of a processor, once.
    world.app.runner.listens(tokio::task::spawn_blocking(voice::calibrated).await.unwrap());
    let mut robin = world.robin().await;
    let mut caller = with_a_pin(&world, kind, &mut robin).await;
    by_text(&world, &robin, &mut caller, "change:phone").await;
    // Consent, with a key of her own telephone, and takes for as long as she is asked: three, if all are heard well.
    robin.act("voice-enrol", &[]).await.ok();
    caller.listen().await;
    caller.hears("If you do not, press 2.");
    caller.keys("1").await;
    for seed in 1..=5 {
        if caller.heard().then != Then::Agent {
            caller.say(phrase(seed)).await;
        }
    }
    caller.then(Then::Agent);
    assert!(world.profile(ANA).await.voice.is_some());
    robin.end().await.ok();
    caller.listen().await;
    caller.then(Then::HangUp);
    world.deliver().await;
    // Another call.
    let mut caller = with_a_pin(&world, kind, &mut robin).await;
    robin.act("voice-compare", &[]).await.ok();
    caller.listen().await;
    caller.say(phrase(50)).await;
    // She does not hear what came of it, and it proves nothing.
    caller.then(Then::Agent);
    let panel = robin.panel().await;
    panel.shows("Voice: <b>alike</b>");
    assert_eq!(panel.level(), "authenticated");
    Yes
}

async fn verbal_password(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let mut caller = kind.dial(&world, from(LIAM_LINE)).await;
    caller.all(&["0", "1"]).await;
    take(&mut robin, &mut caller).await;
    // It is said, not keyed: the line stays with the agent.
    robin.prove("verbal_password", "").await.ok();
    caller.then(Then::Agent);
    robin.word("purple unicorn").await.says("No match.");
    let page = robin.word(LIAM_WORD).await;
    page.says("Match.").hides(&["rhinoceros"]);
    assert_eq!(page.level(), "authenticated");
    Yes
}

async fn youtube_hybrid(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let ana = Portal::enter(&world, "10004711").await;
    let mut caller = kind.dial(&world, from(STRANGER)).await;
    caller.all(&["1", "3"]).await;
    let code = caller.spoken_code();
    caller.silence().await;
    assert_eq!(caller.spoken_code(), code, "whoever types has to key nothing, and hears it again meanwhile");
    ana.links(&code).await.is(303);
    caller.listen().await;
    caller.hears("Thank you, that was accepted.");
    caller.keys("1").await;
    assert_eq!(take(&mut robin, &mut caller).await.level(), "authenticated");
    hides(&world.log().await, &[&code]);
    Yes
}

async fn apple_hold_music(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    for (key, music) in [("1", "calm"), ("2", "lively"), ("3", "classical"), ("4", "silence")] {
        let mut caller = kind.dial(&world, from(STRANGER)).await;
        caller.all(&["1", "0"]).await;
        caller.hears("Please choose what you hear while you wait.");
        caller.keys(key).await;
        caller.then(Then::Hold(music.into()));
        // It can be changed while it plays, and goes on when it is over.
        caller.keys("3").await;
        caller.then(Then::Hold("classical".into()));
        caller.listen().await;
        caller.then(Then::Hold("classical".into()));
        caller.hang_up().await;
        assert!(matches!(world.events(caller.id()).await.last(), Some(Event::Ended { .. })));
    }
    Yes
}

async fn walmart_call_me(kind: Kind) -> Came {
    if !kind.rings() {
        return Cannot("it takes calls and rings nobody: have [jambonz], [http] or [twilio] ring");
    }
    let world = World::with(kind.setup()).await;
    kind.connect(&world).await;
    let mut robin = world.robin().await;
    let chidi = Portal::enter(&world, "10004713").await;
    let contact = chidi.home().await.body.split("name=\"contact\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(chidi.post("/me/call-me", &[("contact", &contact)]).await.header("location"), "/me?done=rings");
    let letter = world.letter().await;
    letter.went_to(Channel::Ring, CHIDI_LINE);
    let live = chidi.get("/me/live").await;
    let key = live.body.split("Press the key </span>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let mut caller = kind.answer(&world, letter.text.parse().unwrap()).await;
    caller.hears("Press the key that our website shows now.");
    caller.keys(if key == "5" { "6" } else { "5" }).await;
    caller.hears("That was not accepted. Please try again.");
    caller.keys(&key).await;
    caller.hears("Thank you, that was accepted.");
    caller.keys("2").await;
    caller.then(Then::Hold("lively".into()));
    assert_eq!(take(&mut robin, &mut caller).await.level(), "authenticated");
    assert!(world.tells(caller.id(), "Proved: rung back.").await);
    caller.hang_up().await;
    assert!(matches!(world.events(caller.id()).await.last(), Some(Event::Ended { .. })));
    Yes
}

async fn hotelx_misheard(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let mut caller = kind.dial(&world, WITHHELD).await;
    caller.all(&["1", "0", "1"]).await;
    assert_eq!(take(&mut robin, &mut caller).await.level(), "anonymous");
    let page = robin.heard("email", "dina.bell@example.com").await;
    page.shows("look-alike");
    assert_eq!(page.level(), "anonymous");
    robin.heard("postal_code", "06804").await.ok();
    robin.heard("email", "tina.bell@example.com").await.ok();
    robin.heard("date_of_birth", "1995-02-14").await.says("Two things agree").hides(&TINA_PRIVATE);
    robin.reveal("phone").await.says("not permitted now").hides(&TINA_PRIVATE);
    robin.change_phone(NEW).await.says("Not permitted now");
    robin.prove("pin,sms_code", "change:phone").await.ok();
    caller.listen().await;
    caller.keys("7318").await;
    caller.hears("We have just texted a code");
    let letter = world.letter().await;
    letter.went_to(Channel::Sms, TINA_LINE);
    caller.keys(&letter.code()).await;
    robin.change_phone(NEW).await.says("Done.");
    let told = world.deliver().await;
    assert!(told.iter().any(|l| l.to == TINA_LINE && l.text.contains("Undo it:")), "{told:#?}");
    reached(caller.as_ref())
}

async fn retailer_gives_email(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let _caller = known(&world, kind, &mut robin).await;
    robin.heard("account_number", "10004711").await.ok();
    robin.heard("email", "ana.torres@example.org").await.says("No match.").shows("4 misses left").hides(&ANA_PRIVATE);
    Yes
}

async fn which_number_to_text(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut caller = kind.dial(&world, from(ANA_LINE)).await;
    // Another way than the PIN is a texted code, and another again a read-out one.
    caller.all(&["1", "*"]).await;
    caller.hears("the mobile number on file");
    world.letter().await.went_to(Channel::Sms, ANA_LINE);
    caller.all(&["2", "0", "2", "5", "5"]).await;
    world.deliver().await;
    assert!(world.ground.post.attempts().iter().all(|letter| letter.to == ANA_LINE), "{:?}", world.ground.post.attempts());
    Yes
}

async fn password_by_phone_number(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let mut caller = known(&world, kind, &mut robin).await;
    robin.perform("change:password", &[]).await.says("Not permitted now").hides(&ANA_PRIVATE);
    robin.prove("pin", "change:password").await.ok();
    caller.listen().await;
    caller.keys("4071").await;
    robin.perform("change:password", &[]).await.says("Not permitted now");
    assert!(world.deliver().await.is_empty());
    reached(caller.as_ref())
}

async fn ssn_asked(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let _caller = known(&world, kind, &mut robin).await;
    robin.heard("ssn", "078-05-1120").await.says("choose what the caller said");
    robin.prove("ssn", "").await.says("there is no such factor");
    hides(&world.log().await, &["078-05-1120"]);
    Yes
}

async fn utility_reads_address(kind: Kind) -> Came {
    const ADDRESS: [&str; 4] = ["Juniper Lane", "12 Juniper", "Springfield", "20500"];
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let mut caller = kind.dial(&world, from(ANA_LINE)).await;
    for keys in ["1", "4071", "1"] {
        hides(&caller.words(), &ADDRESS);
        caller.keys(keys).await;
    }
    take(&mut robin, &mut caller).await.hides(&ADDRESS);
    robin.reveal("address").await.says("not permitted now").hides(&ADDRESS);
    hides(&caller.words(), &ADDRESS);
    Yes
}

async fn ups_online_only(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut kim = world.kim().await;
    let _caller = with_a_pin(&world, kind, &mut kim).await;
    kim.perform("do:close_account", &[]).await.says("Not permitted now");
    kim.request("do:close_account").await.says("Only online. The way was sent to the contact on file.");
    world.letter().await.went_to(Channel::Email, ANA_MAIL);
    Yes
}

async fn security_follow_up(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let mut caller = with_a_pin(&world, kind, &mut robin).await;
    by_text(&world, &robin, &mut caller, "change:phone").await;
    robin.change_phone(NEW).await.says("Done.");
    world.deliver().await;
    caller.hang_up().await;
    let letters = world.deliver().await;
    let summary = letters.iter().find(|letter| letter.to == ANA_MAIL).expect("a summary");
    assert!(summary.reads("This wasn't you?").link().starts_with("/not-me/"));
    reached(caller.as_ref())
}

async fn risky_call(kind: Kind) -> Came {
    let world = World::with(Setup { deny: vec!["+12025550188"], ..kind.setup() }).await;
    let (mut robin, mut sam) = (world.robin().await, world.sam().await);
    let caller = kind.dial(&world, from("+12025550188")).await;
    caller.then(Then::HangUp);
    assert!(world.tells(caller.id(), "number on deny list +100").await);
    if !kind.attests() {
        return Otherwise(BY_DENY_LIST);
    }
    let mut caller = kind.dial(&world, Dials { failed: true, ..from(ANA_LINE) }).await;
    caller.all(&["0", "1"]).await;
    caller.hears("A specialist will be with you soon.");
    robin.call = caller.id();
    robin.act("accept", &[]).await;
    robin.panel().await.is(404);
    take(&mut sam, &mut caller).await.shows("the number's signature does not hold").hides(&ANA_PRIVATE);
    Yes
}

async fn silent_authentication(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let liam = Portal::enter(&world, "10004712").await;
    let page = liam.post("/me/dial", &[("", "")]).await;
    // The demo's link has its own form; a token is ten digits everywhere.
    let token = page.ok().body.split(|c: char| !c.is_ascii_digit()).find(|run| run.len() == 10).unwrap_or_else(|| panic!("{}", page.body)).to_owned();
    let dials = Dials { token: true, ..from(STRANGER) };
    let mut caller = kind.dial(&world, dials).await;
    caller.keys(&token).await;
    caller.hears("Thank you, that was accepted.");
    caller.keys("1").await;
    assert_eq!(take(&mut robin, &mut caller).await.level(), "authenticated");
    robin.reveal("name").await.shows("Liam Okafor");
    hides(&world.log().await, &[&token]);
    Yes
}

async fn flex_push(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let ana = Portal::enter(&world, "10004711").await;
    let caller = with_a_pin(&world, kind, &mut robin).await;
    let code = robin.prove("approval", "change:phone").await.given();
    let challenge = ana.asked().await.unwrap();
    ana.get("/me/live").await.shows("from a number ending in 42 on your file").hides(&[&code]);
    assert_eq!(ana.answer(&challenge, "type", &code).await, "approved");
    assert_eq!(robin.panel().await.level(), "strong");
    // The caller stayed with the agent.
    caller.then(Then::Agent);
    Yes
}

async fn number_lookup(kind: Kind) -> Came {
    let oracle = Arc::new(Oracle::default());
    let settings = Use { on_failure: OnFailure::Ignore, cache: Span::days(1), sim_lately: Span::hours(72) };
    let world = World::with(Setup { intel: Some((oracle.clone(), settings)), ..kind.setup() }).await;
    let mut sam = world.sam().await;
    oracle.answers([Ok(Known { sim: Sim::At(world.now() - Span::hours(6)), ..Known::default() })]);
    let mut caller = kind.dial(&world, from(ANA_LINE)).await;
    caller.all(&["0", "1"]).await;
    world.deliver().await;
    take(&mut sam, &mut caller).await.shows("SIM changed lately <b>+50</b>").hides(&ANA_PRIVATE);
    Yes
}

async fn field_notes(kind: Kind) -> Came {
    let world = World::with(kind.setup()).await;
    let (mut robin, kim) = (world.robin().await, world.kim().await);
    let mut caller = kind.dial(&world, from(ANA_LINE)).await;
    caller.all(&["1", "4071", "1"]).await;
    take(&mut robin, &mut caller).await;
    robin.reveal("name").await.shows("Ana Torres");
    caller.hang_up().await;
    kim.get("/admin/grade").await.ok().shows("1 call. good 1, okay 0, bad 0, oh no 0; not graded 0.").hides(&ANA_PRIVATE);
    Yes
}

/// What an adapter can, as far as it shows on a call: a line of the second table each.
pub async fn measure(kind: Kind) -> Vec<(&'static str, &'static str)> {
    let world = World::with(kind.setup()).await;
    let mut robin = world.robin().await;
    let caller = kind.dial(&world, Dials { failed: true, ..from(STRANGER) }).await;
    let mut languages: Vec<&str> = caller.heard().said.iter().map(|(lang, _)| lang.as_str()).collect();
    languages.sort();
    languages.dedup();
    let failed = world.events(caller.id()).await.iter().any(|event| matches!(event, Event::Started { verstat: countersign_core::risk::Verstat::Failed, .. }));
    assert_eq!(failed, kind.attests());
    let mut caller = known(&world, kind, &mut robin).await;
    robin.prove("pin", "").await.ok();
    caller.listen().await;
    caller.then(Then::Keys(12));
    let deaf = if caller.sent_back() == 0 { "yes" } else { "yes, once the agent has sent the caller back" };
    vec![
        ("languages in one menu", if languages.len() == 3 { "each as such" } else { "one voice for all" }),
        ("the number's signature is known", if failed { "yes" } else { "no" }),
        ("agent deaf while the caller keys", deaf),
        ("rings customers", if kind.rings() { "yes" } else { "no" }),
    ]
}

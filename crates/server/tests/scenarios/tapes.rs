//! Whole calls, to be read from top to bottom: what is keyed and heard, what the desk does and is
//! told, which messages arrive, and what stands in the record.

use std::fmt::Write as _;

use crate::common::{World, desk::Desk, pages, people::*, phone::Phone, portal::Portal};

struct Tape {
    world: World,
    call: Phone,
    text: String,
    seen: usize,
}

impl Tape {
    async fn dial(world: World, who: &str, from: Option<&str>) -> Self {
        let stir = if from.is_some() { "TN-Validation-Passed-A" } else { "No-TN-Validation" };
        let call = Phone::dial(&world, from, stir).await;
        let mut tape = Self { world, call, text: String::new(), seen: 0 };
        tape.step(&format!("{who} calls")).await;
        tape.hears();
        tape
    }

    /// A heading, and what stands in the record since the last one.
    async fn step(&mut self, heading: &str) {
        writeln!(self.text, "▸ {heading}").unwrap();
        let story = self.world.story(self.call.id).await;
        for sentence in &story[self.seen..] {
            writeln!(self.text, "    {}", self.short(sentence)).unwrap();
        }
        self.seen = story.len();
    }

    fn hears(&mut self) { writeln!(self.text, "  ♪ {}", format!("“{}” {}", self.call.words(), self.call.does()).replace("“” ", "").trim()).unwrap(); }

    async fn keys(&mut self, keys: &str) {
        self.call.press(keys).await;
        let shown = if keys.len() == 6 { "the code" } else { keys };
        self.step(&format!("keys {shown}")).await;
        self.hears();
    }

    async fn listens(&mut self) {
        self.call.listen().await;
        self.hears();
    }

    /// What the desk said and shows after a command.
    async fn desk(&mut self, desk: &Desk, what: &str, page: pages::Page) {
        self.step(&format!("{} {what}", desk.name)).await;
        let level = if page.body.contains("data-level") { format!(" [{}]", page.level()) } else { String::new() };
        let flash = page.flash();
        if !flash.is_empty() || !level.is_empty() {
            writeln!(self.text, "  ▣ {flash}{level}").unwrap();
        }
    }

    /// Messages that arrive now. Returns the code in the last one, if there is any.
    async fn messages(&mut self) -> Vec<crate::common::post::Letter> {
        let letters = self.world.deliver().await;
        for letter in &letters {
            let subject = if letter.subject.is_empty() { String::new() } else { format!("“{}” ", letter.subject) };
            let text: Vec<&str> = letter.text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
            let mut text = text.join(" / ");
            if text.contains("Key in code ") {
                text = text.replace(&letter.code(), "######");
            }
            writeln!(self.text, "  ✉ {} to {}: {subject}{}", letter.channel, letter.to, self.short(&text)).unwrap();
        }
        self.step("the carrier reports").await;
        letters
    }

    /// Names for those we know, dots for every other id and secret.
    fn short(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in [(ANA, "Ana’s account"), (LIAM, "Liam’s account"), (CHIDI, "Chidi’s account"), (TINA, "Tina’s account")] {
            text = text.replace(&id.to_string(), name);
        }
        for name in ["Robin", "Sam", "Kim"] {
            if self.world.app.agents.names().values().any(|n| n == name) {
                text = text.replace(&self.world.agent_id(name).to_string(), name);
            }
        }
        let mut out = String::new();
        let mut run = String::new();
        for c in text.chars().chain(Some('\n')) {
            if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
                run.push(c);
            } else {
                if run.len() >= 32 { out.push('…') } else { out.push_str(&run) }
                run.clear();
                out.push(c);
            }
        }
        out.trim_end().to_owned()
    }

    fn done(self, name: &str) {
        insta::with_settings!({ snapshot_path => "../tapes", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, self.text);
        });
    }
}

#[tokio::test]
async fn a_call_that_passes() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut tape = Tape::dial(world, "Ana, from her own number,", Some(ANA_LINE)).await;
    for keys in ["1", "4071", "2"] {
        tape.keys(keys).await;
    }
    let page = robin.take(&mut tape.call).await;
    tape.desk(&robin, "takes the call", page).await;
    tape.hears();
    for field in ["address", "orders"] {
        let page = robin.reveal(field).await;
        tape.desk(&robin, &format!("asks to see: {field}"), page).await;
    }
    let page = robin.perform("do:cancel_order", &[]).await;
    tape.desk(&robin, "cancels the order", page).await;
    tape.call.hang_up().await;
    tape.step("Ana hangs up").await;
    tape.messages().await;
    tape.done("passes");
}

#[tokio::test]
async fn a_call_that_steps_up() {
    let world = World::new().await;
    let (mut robin, mut sam) = (world.robin().await, world.sam().await);
    let code = Portal::enter(&world, "10004712").await.code().await;
    let mut tape = Tape::dial(world, "Liam, from a telephone that nobody knows,", Some(STRANGER)).await;
    for keys in ["1", "1"] {
        tape.keys(keys).await;
    }
    tape.call.press(&code).await;
    tape.step("keys the code from the portal").await;
    tape.hears();
    tape.keys("4").await;
    let page = robin.take(&mut tape.call).await;
    tape.desk(&robin, "takes the call", page).await;
    let page = robin.perform("change:factors", &[("kind", "verbal_password"), ("value", "seven green bottles")]).await;
    tape.desk(&robin, "tries to set a new verbal password", page).await;
    let page = robin.hand_over("specialists").await;
    tape.desk(&robin, "hands over", page).await;
    tape.listens().await;
    let page = sam.take(&mut tape.call).await;
    tape.desk(&sam, "takes the call", page).await;
    let page = sam.prove("verbal_password", "change:factors").await;
    tape.desk(&sam, "asks for the verbal password", page).await;
    for word in ["purple unicorn", LIAM_WORD] {
        let page = sam.word(word).await;
        tape.desk(&sam, "types what the caller says", page).await;
    }
    let page = sam.perform("change:factors", &[("kind", "verbal_password"), ("value", "seven green bottles")]).await;
    tape.desk(&sam, "sets the new verbal password", page).await;
    tape.messages().await;
    let page = sam.end().await;
    tape.desk(&sam, "ends the call", page).await;
    tape.listens().await;
    tape.messages().await;
    tape.done("steps-up");
}

#[tokio::test]
async fn a_call_that_is_refused() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut tape = Tape::dial(world, "Somebody who knows everything about Ana, without a number,", None).await;
    for keys in ["1", "2", "10004711", "20500", "1111", "1112"] {
        tape.keys(keys).await;
    }
    for keys in ["0", "1"] {
        tape.keys(keys).await;
    }
    let page = robin.take(&mut tape.call).await;
    tape.desk(&robin, "takes the call", page).await;
    for (what, value) in [("name", "Ana Torres"), ("date_of_birth", "1984-03-09"), ("email", "ana.torres@example.org")] {
        let page = robin.heard(what, value).await;
        tape.desk(&robin, &format!("types what the caller says: {what}"), page).await;
    }
    let page = robin.request("change:password").await;
    tape.desk(&robin, "asks about the password", page).await;
    let page = robin.perform("change:password", &[]).await;
    tape.desk(&robin, "tries it all the same", page).await;
    let page = robin.request("do:close_account").await;
    tape.desk(&robin, "asks about closing the account", page).await;
    tape.messages().await;
    let page = robin.end().await;
    tape.desk(&robin, "ends the call", page).await;
    tape.listens().await;
    tape.done("refused");
}

#[tokio::test]
async fn a_call_that_is_reported() {
    let world = World::new().await;
    let (mut sam, kim) = (world.sam().await, world.kim().await);
    let mut tape = Tape::dial(world, "Somebody with Ana’s telephone and her PIN", Some(ANA_LINE)).await;
    for keys in ["2", "4071", "1"] {
        tape.keys(keys).await;
    }
    let page = sam.take(&mut tape.call).await;
    tape.desk(&sam, "takes the call", page).await;
    let page = sam.prove("sms_code", "change:phone").await;
    tape.desk(&sam, "asks for a texted code", page).await;
    tape.listens().await;
    let code = tape.messages().await[0].code();
    tape.keys(&code).await;
    let page = sam.change_phone("+12025550150").await;
    tape.desk(&sam, "changes the number", page).await;
    let told = tape.messages().await;
    let portal = Portal::enter(&tape.world, "10004711").await;
    portal.post("/me/freeze", &[]).await.is(303);
    tape.step("Ana reads her mail and freezes the account in the portal").await;
    let page = sam.perform("do:request_refund", &[]).await;
    tape.desk(&sam, "tries a refund", page).await;
    let page = kim.get("/admin").await;
    page.shows("reported");
    let undo = told.iter().find(|l| l.to == ANA_MAIL).unwrap().link();
    pages::post(&tape.world.router, &undo, None, &[("", ""); 0]).await.ok();
    tape.step("Ana follows the link that undoes the change").await;
    let numbers = tape.world.profile(ANA).await;
    writeln!(tape.text, "  ▣ on file again: {}", numbers.field(countersign_core::action::Field::Phone).join(", ")).unwrap();
    tape.call.hang_up().await;
    tape.step("the caller hangs up").await;
    tape.messages().await;
    tape.done("reported");
}

//! The desk's pages as the templates see them. Everything here is made of [`AgentView`] and
//! [`QueueItem`]: what those do not hold cannot get onto the page.

use askama::Template;
use countersign_core::{
    action::{Action, Field, Level, Role},
    call::{Closed, Queue, Stage},
    claim::ClaimKind,
    factor::FactorKind,
    id::CallId,
    message::Delivery,
    risk::Band,
    time::Timestamp,
    view::{ActionView, AgentView, CATALOGUE, Disclosure, FieldView, Offer, QueueItem},
};

use super::{
    Flash, FlashKind, Queued, Seen, Shell, StoryLine,
    script::{Script, script},
    words,
};

/// The whole page.
#[derive(Template)]
#[template(path = "desk/page.html")]
pub(super) struct Page<'a> {
    pub shell: &'a Shell<'a>,
    pub now: Timestamp,
    pub list: List<'a>,
    pub panel: Option<Panel<'a>>,
    pub rings: &'a [(String, String)],
}

/// The queue alone.
#[derive(Template)]
#[template(path = "desk/list_only.html")]
pub(super) struct ListOnly<'a> {
    pub list: List<'a>,
}

/// The call alone.
#[derive(Template)]
#[template(path = "desk/panel_only.html")]
pub(super) struct PanelOnly<'a> {
    pub panel: Panel<'a>,
}

/// Waiting calls first, longest wait first; then those somebody has or the machine still talks to.
pub(super) struct List<'a> {
    pub now: Timestamp,
    pub waiting: Vec<Row<'a>>,
    pub others: Vec<Row<'a>>,
}

/// One call in the list.
pub(super) struct Row<'a> {
    pub item: &'a QueueItem,
    pub who: Option<&'a str>,
    pub company: Option<&'a str>,
    pub current: bool,
}

impl<'a> List<'a> {
    pub fn new(now: Timestamp, items: &'a [Queued], current: Option<CallId>) -> Self {
        let row = |queued: &'a Queued| Row {
            item: &queued.item,
            who: queued.item.agent.map(|_| queued.who.as_deref().unwrap_or("another agent")),
            company: queued.company.as_deref(),
            current: current == Some(queued.item.call),
        };
        let mut sorted: Vec<&Queued> = items.iter().collect();
        sorted.sort_by_key(|queued| (!queued.item.may_take, queued.item.since));
        let (waiting, others): (Vec<_>, Vec<_>) = sorted.into_iter().partition(|queued| queued.item.stage == Stage::Waiting);
        Self { now, waiting: waiting.into_iter().map(row).collect(), others: others.into_iter().map(row).collect() }
    }
}

/// The live call.
pub(super) struct Panel<'a> {
    pub now: Timestamp,
    pub view: &'a AgentView,
    pub flash: Option<&'a Flash>,
    pub story: &'a [StoryLine],
    pub script: Option<Script>,
    pub company: Option<&'a str>,
    /// What was carried out on a call that is over.
    pub over: &'a [Action],
}

/// One rung of the assurance ladder.
pub(super) struct Rung {
    pub level: Level,
    pub class: &'static str,
}

/// Something that the agent must not overlook.
pub(super) struct Warning {
    pub class: &'static str,
    pub icon: &'static str,
    pub title: String,
    pub text: String,
}

/// Something the caller can say.
pub(super) struct Choice {
    pub value: &'static str,
    pub label: &'static str,
    pub selected: bool,
}

/// What carrying an action out asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Phone,
    Email,
    Address,
    Word,
    Password,
    Freeze,
    Plain,
}

impl<'a> Panel<'a> {
    pub fn new(now: Timestamp, seen: &'a Seen, flash: Option<&'a Flash>) -> Self {
        Self { now, view: &seen.view, flash, story: &seen.story, script: script(&seen.view), company: seen.company.as_deref(), over: &seen.done }
    }

    /// What was carried out: of a call that is over, also before its account was given up.
    pub fn done(&self) -> &[Action] { if self.over.is_empty() { &self.view.performed } else { self.over } }

    /// What a customer can be rung about.
    pub fn matters() -> Vec<(String, String)> {
        CATALOGUE.iter().map(|(verb, object)| Action::new(*verb, *object)).map(|action| (action.to_string(), words::action(&action))).collect()
    }

    /// Where a form of this call goes.
    pub fn to(&self, what: &str) -> String { format!("/desk/call/{}/{what}", self.view.call) }

    /// The words to read aloud.
    pub fn line(&self, script: &Script) -> &'static str { script.line.text(self.view.lang) }

    /// The viewer can still do something.
    pub fn live(&self) -> bool { self.view.mine && self.view.stage != Stage::Ended }

    pub fn ended(&self) -> bool { self.view.stage == Stage::Ended }

    pub fn may_take(&self) -> bool { self.view.stage == Stage::Waiting }

    pub fn stage_line(&self) -> String {
        let view = self.view;
        match (view.stage, view.mine) {
            (Stage::Proving, true) => {
                let what = view.challenge.as_ref().map_or("a proof", |c| words::factor(&c.kind));
                format!("The caller is keying: {what}. You hear nothing; stay on the line.")
            }
            (Stage::Talking, true) => "You are talking with the caller.".to_owned(),
            (Stage::Dialing, true) => "The customer’s telephone rings. You are connected when they answer.".to_owned(),
            (Stage::Confirming, true) => "The customer answered, and is told who calls.".to_owned(),
            (Stage::Talking, false) => "Another agent has this call.".to_owned(),
            (Stage::Waiting, _) => {
                let queue = match view.queue { Some(Queue::Specialists) => "a specialist", _ => "an agent" };
                let music = view.music.as_ref().map(|m| format!(", with {}", words::music(m))).unwrap_or_default();
                format!("The caller waits for {queue}{music}.")
            }
            (Stage::Ended, _) => "The call is over.".to_owned(),
            (stage, _) => format!("The caller is {}.", words::stage(&stage)),
        }
    }

    pub fn ladder(&self) -> Vec<Rung> {
        let here = self.view.level;
        let class = |level: Level| if level == here { "here" } else if level < here { "passed" } else { "ahead" };
        Level::ALL.into_iter().map(|level| Rung { level, class: class(level) }).collect()
    }

    pub fn warnings(&self) -> Vec<Warning> {
        let view = self.view;
        let mut out = Vec::new();
        let mut add = |class, icon, title: &str, text: String| out.push(Warning { class, icon, title: title.to_owned(), text });
        if view.duress {
            add("bad", "siren", "Duress word", "The caller may be under threat. Keep your tone, follow the house procedure for duress. Whatever looks carried out is held for review.".into());
        }
        if view.disowned {
            add("bad", "alert", "Not the customer", "The customer, signed in, says that they are not on this call. Nothing proved on it counts. Say nothing of it, and end the call or hand it to a specialist.".into());
        }
        if view.frozen {
            add("bad", "snow", "Account frozen", "The customer did not recognise something. Nothing is shown or changed; a specialist ends the freeze, after strong proof.".into());
        }
        if view.phone_lock {
            add("warn", "lock", "Phone locked", "The customer allows no changes by phone. They change things signed in.".into());
        }
        let access = &view.access;
        if access.relay {
            add("info", "people", "Relay service", "An operator may speak or type for the customer. That is how they call, and no reason for doubt. Codes are typed by the customer in the portal.".into());
        }
        if access.text {
            add("info", "people", "Text on the phone", "The customer uses real-time text or a TTY. Write short sentences, and wait for “GA”.".into());
        }
        if access.unhurried {
            add("info", "people", "More time", "The customer needs longer to answer and to key. The machine waits longer, too.".into());
        }
        if view.number_set_aside {
            add("warn", "alert", "Number set aside", "The calling number belongs to another account. What the caller said agrees on this one, so this one counts.".into());
        }
        if view.contradictions > 0 {
            let many = if view.contradictions == 1 { "One detail points".to_owned() } else { format!("{} details point", view.contradictions) };
            add("warn", "alert", "Contradiction", format!("{many} at another account. The account of this call stays as it is."));
        }
        if view.claims.iter().any(|c| c.look_alike) {
            add("warn", "alert", "Look-alike", "A detail is one slip of the ear away from another customer’s, and does not count. Have it spelled, or ask for something else.".into());
        }
        if let Some((kind, actions)) = &view.delegate {
            let list: Vec<String> = actions.iter().map(|a| words::action(a).to_lowercase()).collect();
            let may = if list.is_empty() { "nothing but talk".to_owned() } else { list.join(", ") };
            add("info", "people", "Speaks for somebody else", format!("As {}. May: {may}. Proofs are the caller’s own.", words::plain(kind)));
        }
        if self.live() && view.misses_left == 0 {
            add("warn", "alert", "No tries left", "No more details are taken on this call. Ask for a proof, or hand over to a specialist.".into());
        }
        out
    }

    pub fn heard(&self) -> Vec<Choice> {
        let next = ClaimKind::ALL.into_iter().find(|kind| self.view.claims.iter().all(|c| c.kind != *kind));
        let mut out: Vec<Choice> = ClaimKind::ALL.into_iter()
            .map(|kind| Choice { value: kind.name(), label: words::claim(&kind), selected: Some(kind) == next }).collect();
        if self.view.opened {
            out.push(Choice { value: "address", label: "Postal address", selected: false });
        }
        out
    }

    /// The last comparisons, latest first.
    pub fn compared(&self) -> Vec<(Field, bool)> { self.view.compared.iter().rev().take(6).copied().collect() }

    /// Factors that can still be asked for.
    pub fn factors(&self) -> Vec<FactorKind> {
        self.view.factors.iter().filter(|kind| !self.view.proofs.contains(kind)).copied().collect()
    }

    /// Proofs may be asked for when an account is meant and nothing is open.
    pub fn may_prove(&self) -> bool { self.live() && self.view.identified && self.view.challenge.is_none() }

    pub fn last_closed(&self) -> Option<Closed> { self.view.last_closed.filter(|_| self.view.challenge.is_none()) }

    pub fn may_speak_for(&self) -> bool { self.live() && self.view.level >= Level::Authenticated && self.view.delegate.is_none() }

    pub fn open(&self, field: &FieldView) -> bool { matches!(field.disclosure, Disclosure::Visible | Disclosure::Speakable) }

    pub fn speakable(&self, field: &FieldView) -> bool { field.disclosure == Disclosure::Speakable }

    pub fn masked(&self, field: &FieldView) -> bool { field.disclosure == Disclosure::Masked && !field.values.is_empty() }

    /// The caller can say it and the desk can compare it.
    pub fn comparable(&self, field: &FieldView) -> Option<&'static str> {
        let offered = |heard: &&str| self.view.opened || *heard != "address";
        words::field_heard(&field.field).filter(offered).filter(|_| self.live() && !field.revealed && field.disclosure != Disclosure::Hidden && self.view.misses_left > 0)
    }

    pub fn form(&self, action: &ActionView) -> Option<Form> {
        (action.offer == Offer::Now).then(|| match action.action.to_string().as_str() {
            "change:phone" => Form::Phone,
            "change:email" => Form::Email,
            "change:address" => Form::Address,
            "change:factors" => Form::Word,
            "change:password" => Form::Password,
            "do:end_freeze" => Form::Freeze,
            _ => Form::Plain,
        })
    }

    /// The way online went out already.
    pub fn sent_online(&self, action: &ActionView) -> bool { self.view.sent_online.contains(&action.action) }

    /// What the form says before it is done.
    pub fn before(&self, form: &Form) -> &'static str {
        match form {
            Form::Phone => "The old number is told. The new one gets no codes until its cooling-off time is over.",
            Form::Email => "The old address is told. The new one cools off before it counts.",
            Form::Address => "The customer is told at the contact on file, and can undo it.",
            Form::Word => "The customer is told at the contact on file.",
            Form::Password => "A link to set a new web password goes to the contact on file. Nobody says a password on the phone.",
            Form::Freeze => "From then on the account can be shown and changed again.",
            Form::Plain => "It is put on record, and the customer gets a summary after the call.",
        }
    }
}

//! The one place that decides what a screen may show. [`AgentView`] is the only type a desk page
//! is rendered from; what is not in it is not in the page.

use serde::Serialize;

use crate::{
    account::{Access, Brief, ContactKind, Profile},
    action::{Action, Actor, Decision, Facts, Field, Level, Outcome, Policy, Request, Role, Verb, WayOut},
    call::{Call, Closed, MAX_MISSES, Origin, Queue, Stage, usable_kinds},
    claim::{ClaimKind, Via},
    factor::{Alphabet, FactorKind, Pepper, Watchwords},
    id::{AgentId, CallId},
    message::Delivery,
    prompt::{Lang, Music},
    risk::{Band, Contribution},
    secret::Secret,
    time::Timestamp,
    voice::{self, Likeness, Settings},
};

/// How a field may appear to this agent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disclosure {
    /// Not even that it exists.
    Hidden,
    /// Type what the caller says; the answer is match or no match.
    CompareOnly,
    /// Most of it blanked.
    Masked,
    /// May be looked at; not to be said.
    Visible,
    /// May be said to the caller.
    Speakable,
}

/// One field on the screen.
#[derive(Debug, Clone, Serialize)]
pub struct FieldView {
    /// Which.
    pub field: Field,
    /// How it may appear.
    pub disclosure: Disclosure,
    /// Its values: masked ones always, clear ones only after the agent asked to look.
    pub values: Vec<String>,
    /// The agent asked to look.
    pub revealed: bool,
    /// The lowest level at which it could be looked at, if that would help.
    pub opens_at: Option<Level>,
    /// Policy makes an exception for this agent with a written reason.
    pub with_reason: bool,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// Why, in a sentence.
    pub why: String,
}

/// Whether something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// Now.
    Now,
    /// After more proof.
    StepUp,
    /// Only signed in, not by phone.
    Online,
    /// By another role.
    Specialist,
    /// Not on this call.
    Refused,
}

/// One action on the screen.
#[derive(Debug, Clone, Serialize)]
pub struct ActionView {
    /// Which.
    pub action: Action,
    /// Whether it may be done.
    pub offer: Offer,
    /// The level it needs.
    pub needs: Option<Level>,
    /// What it would take: alternatives, each a row of factors to ask for.
    pub plans: Vec<Vec<FactorKind>>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// Why, in a sentence.
    pub why: String,
    /// It was asked about on the record.
    pub asked: bool,
    /// How often it was carried out on this call.
    pub done: usize,
}

/// One claim on the screen: never its value.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimView {
    /// What it is about.
    pub kind: ClaimKind,
    /// How it reached us.
    pub via: Via,
    /// Whether it fits the open account; `None` while none is open, so that nobody learns which
    /// of several claims was the right one.
    pub fits: Option<bool>,
    /// It is one slip of the ear away from another customer's.
    pub look_alike: bool,
}

/// The open challenge on the screen.
#[derive(Debug, Clone, Serialize)]
pub struct ChallengeView {
    /// What kind.
    pub kind: FactorKind,
    /// Whether the caller keys it or says it to the agent.
    pub keyed: bool,
    /// Until when.
    pub expires: Timestamp,
    /// Entries left.
    pub left: u8,
    /// What it is for.
    pub action: Option<Action>,
    /// What comes after it.
    pub then: Vec<FactorKind>,
    /// How the message fared.
    pub delivery: Option<Delivery>,
    /// What the agent reads out, for the customer to type in the portal.
    pub code: Option<Secret>,
}

/// A code given out for whoever types it in the portal.
#[derive(Debug, Clone, Serialize)]
pub struct LinkView {
    /// What the agent reads out.
    pub code: Secret,
    /// Until when.
    pub expires: Timestamp,
}

/// The caller's voice on the screen. A word, never a number: nobody is to judge by points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct VoiceView {
    /// What the last comparison said; `None`: none was asked for.
    pub word: Option<Likeness>,
    /// It cannot be compared before the customer has enrolled again.
    pub stale: bool,
    /// It may be compared now.
    pub may_compare: bool,
    /// The caller may be asked whether their voice may be taken.
    pub may_enrol: bool,
    /// It is on file, and can be taken off.
    pub may_remove: bool,
    /// The caller is being heard, or asked for consent.
    pub going_on: bool,
}

/// Everything one agent may see of one call now.
#[derive(Debug, Clone, Serialize)]
pub struct AgentView {
    /// Which call.
    pub call: CallId,
    /// How many events it has: a page with an older number is out of date.
    pub n: u64,
    /// Where the caller is.
    pub stage: Stage,
    /// When it came in.
    pub started: Timestamp,
    /// Since when the caller waits.
    pub waiting_since: Option<Timestamp>,
    /// In which queue.
    pub queue: Option<Queue>,
    /// The viewer has the call.
    pub mine: bool,
    /// The language spoken.
    pub lang: Lang,
    /// The hold music chosen.
    pub music: Option<Music>,
    /// Present assurance.
    pub level: Level,
    /// Until when.
    pub level_expires: Option<Timestamp>,
    /// The policies that gave it.
    pub level_policies: Vec<String>,
    /// What was proved.
    pub proofs: Vec<FactorKind>,
    /// Which account is meant is known.
    pub identified: bool,
    /// It may be opened.
    pub opened: bool,
    /// Claims so far.
    pub claims: Vec<ClaimView>,
    /// Claims and comparisons without a match that are left.
    pub misses_left: u32,
    /// The last comparisons.
    pub compared: Vec<(Field, bool)>,
    /// The open challenge.
    pub challenge: Option<ChallengeView>,
    /// A code that is open for whoever types it in the portal.
    pub link: Option<LinkView>,
    /// A code for the portal can be given out.
    pub may_link: bool,
    /// The words by which customer and agent know each other.
    pub watchwords: Option<Watchwords>,
    /// The caller's voice.
    pub voice: VoiceView,
    /// The customer says that they are not on this call.
    pub disowned: bool,
    /// Who began the call.
    pub origin: Origin,
    /// What makes the call easier for the customer.
    pub access: Access,
    /// Why the last challenge ended without a proof.
    pub last_closed: Option<Closed>,
    /// Factors that could be asked for.
    pub factors: Vec<FactorKind>,
    /// Fields.
    pub fields: Vec<FieldView>,
    /// Actions.
    pub actions: Vec<ActionView>,
    /// Risk.
    pub risk: u8,
    /// Where it leads.
    pub band: Band,
    /// Nothing follows from it: it is only recorded.
    pub shadow: bool,
    /// What it is made of.
    pub risk_parts: Vec<Contribution>,
    /// The number pointed at another account, which was set aside.
    pub number_set_aside: bool,
    /// Claims pointed somewhere else.
    pub contradictions: u32,
    /// The account is frozen.
    pub frozen: bool,
    /// The customer locked the phone channel.
    pub phone_lock: bool,
    /// The caller speaks for somebody else: by what, and for which actions.
    pub delegate: Option<(String, Vec<Action>)>,
    /// The caller confirmed that it is about the upcoming thing.
    pub intent: bool,
    /// What was carried out.
    pub performed: Vec<Action>,
    /// What the customer was sent the way online for.
    pub sent_online: Vec<Action>,
    /// The duress word was used: to the lead alone.
    pub duress: bool,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// What a desk offers to do, in this order.
pub const CATALOGUE: [(Verb, &str); 10] = [
    (Verb::Change, "address"), (Verb::Change, "phone"), (Verb::Change, "email"), (Verb::Change, "password"),
    (Verb::Change, "factors"), (Verb::Do, "cancel_order"), (Verb::Do, "request_refund"), (Verb::Do, "redirect_parcel"),
    (Verb::Do, "close_account"), (Verb::Do, "end_freeze"),
];

/// Who looks.
#[derive(Debug, Clone, Copy)]
pub struct Viewer {
    /// Which agent.
    pub agent: AgentId,
    /// As what.
    pub role: Role,
}

/// Renders a call for one agent as it is at `now`. `profile` is read only for fields that policy lets
/// be seen.
///
/// The state is taken apart field by field: a new field does not compile until somebody decides
/// here who may see it.
#[allow(clippy::too_many_arguments, reason = "everything that a screen rests on, and nothing is looked up here")]
pub fn agent_view(
    call: &Call, principal: Option<&Brief>, profile: Option<&Profile>, viewer: Viewer, policy: &dyn Policy, pepper: &Pepper, voices: Option<&Settings>, now: Timestamp,
) -> AgentView {
    let call: &Call = &call.as_of(now);
    let Call {
        id, n, started, updated: _, adapter, number: _, origin, verstat: _, denied: _, stage, lang: _, music, silences: _, words_to_agent: _,
        claims, contradictions, misses, subject, principal: _, agreed: _, settled: _, number_set_aside, delegate, intent, challenge,
        link, ring: _, disowned, tried: _, proofs: _, level, level_expires, level_policies, failures: _, risk, risk_parts, route: _, shadow, signals: _, voice, fraud: _, queue, waiting_since,
        agent, handed_over: _, compared, revealed: _, decisions: _, performed, sent_online, frozen, duress, delivery, last_closed, ended,
    } = call;
    let mine = *agent == Some((viewer.agent, viewer.role));
    // Whoever does not have the call sees that it exists, and nothing of the account; nor does
    // anybody once it is over, nor ever of another account than the call's.
    let profile = profile.filter(|p| mine && ended.is_none() && *subject == Some(p.id));
    let principal = principal.filter(|b| mine && ended.is_none() && call.principal == Some(b.id));
    let subject_brief = profile.map(|p| p.brief(now));
    let lens = Lens { call, subject: subject_brief.as_ref(), viewer, policy };
    let mut factors = usable_kinds(call, principal, Actor::Agent { id: viewer.agent, role: viewer.role }, policy, now);
    // A number that was replaced on this call gets no codes any more, and one that only looks so
    // must not be told from it.
    if performed.iter().any(|(action, _)| action.verb == Verb::Change && action.object == "phone") {
        factors.retain(|kind| !kind.is_sent());
    }
    let claims = claims.iter().map(|c| ClaimView {
        kind: c.kind,
        via: c.via,
        fits: subject.filter(|_| call.opened()).map(|s| c.accounts.contains(&s)),
        look_alike: c.look_alike,
    }).collect();
    let challenge = challenge.as_ref().map(|c| ChallengeView {
        kind: c.kind, keyed: c.is_to_machine(), expires: c.expires, left: c.left, action: c.action.clone(), then: c.then.clone(), delivery: *delivery,
        code: (mine && matches!(c.kind, FactorKind::Approval | FactorKind::Provider)).then(|| pepper.travel_code(c.id, Alphabet::Known)),
    });
    let live = mine && ended.is_none();
    let may_link = live && !disowned && link.is_none() && challenge.is_none() && !call.settled;
    let link = link.as_ref().filter(|_| live).map(|l| LinkView { code: pepper.travel_code(l.id, l.alphabet), expires: l.expires });
    let heard = voices.is_some_and(|s| s.hears(adapter)) && live && !disowned && delegate.is_none() && *stage == Stage::Talking && challenge.is_none();
    let voice = lens.voice(voice, principal.filter(|b| *subject == Some(b.id)), live, heard);
    let (fields, actions) = profile.map_or_else(Default::default, |profile| (lens.fields(profile), lens.actions(&factors)));
    AgentView {
        call: *id, n: *n, stage: *stage, started: *started, waiting_since: *waiting_since, queue: *queue, mine,
        lang: call.language(), music: *music, level: *level, level_expires: *level_expires,
        level_policies: level_policies.clone(), proofs: call.proof_kinds(), identified: subject.is_some(),
        opened: call.opened(), claims, misses_left: MAX_MISSES.saturating_sub(*misses), compared: compared.clone(),
        challenge, link, may_link, watchwords: call.principal.or(*subject).filter(|_| live).map(|account| pepper.watchwords(*id, account)), voice, disowned: *disowned,
        origin: origin.clone(), access: principal.map(|b| b.access).unwrap_or_default(), last_closed: *last_closed, factors, fields, actions, risk: *risk, band: call.band(), shadow: *shadow,
        risk_parts: risk_parts.clone(), number_set_aside: *number_set_aside, contradictions: *contradictions,
        frozen: *frozen || subject_brief.as_ref().is_some_and(|b| b.frozen),
        phone_lock: subject_brief.as_ref().is_some_and(|b| b.phone_lock),
        delegate: delegate.as_ref().map(|d| (d.kind.clone(), d.actions.clone())), intent: *intent,
        performed: performed.iter().map(|(action, _)| action.clone()).collect(), sent_online: sent_online.clone(),
        duress: *duress && viewer.role == Role::Lead, ended: ended.map(|(_, at)| at),
    }
}

/// Policy as one viewer meets it on one call.
struct Lens<'a> {
    call: &'a Call,
    subject: Option<&'a Brief>,
    viewer: Viewer,
    policy: &'a dyn Policy,
}

impl Lens<'_> {
    fn actor(&self) -> Actor { Actor::Agent { id: self.viewer.agent, role: self.viewer.role } }

    fn decide(&self, action: &Action, with_reason: bool) -> Decision {
        let mut facts = self.call.facts_for(self.policy, self.actor(), self.subject, action);
        facts.with_reason = with_reason;
        self.policy.decide(&Request { actor: self.actor(), action, facts: &facts })
    }

    fn voice(&self, state: &voice::State, brief: Option<&Brief>, live: bool, heard: bool) -> VoiceView {
        let on_file = brief.is_some_and(|b| b.voice.is_some() || self.call.voice_looks_kept());
        let may = |verb| {
            let decision = self.decide(&Action::new(verb, "voice"), false);
            // Under duress the screen must not differ.
            decision.permits() || decision.outcome == (Outcome::Refuse { way_out: WayOut::Held })
        };
        VoiceView {
            word: state.last.map(voice::Outcome::likeness).or(state.stopped.then_some(Likeness::NotCompared)).filter(|_| live),
            stale: live && state.last == Some(voice::Outcome::OtherNetwork),
            may_compare: heard && on_file && self.call.opened() && state.asked < voice::MAX_COMPARISONS && may(Verb::Use),
            may_enrol: heard && brief.is_some() && self.call.level >= Level::Strong && may(Verb::Change),
            may_remove: live && on_file && self.call.opened() && self.call.delegate.is_none() && !state.is_going_on(),
            going_on: live && state.is_going_on(),
        }
    }

    /// The facts as they would be without duress.
    fn calm_facts(&self, action: &Action) -> Facts { Facts { duress: false, ..self.call.facts_for(self.policy, self.actor(), self.subject, action) } }

    /// The ids of deciding policies. Under duress those that it brings in would give it away to
    /// whoever looks over the agent's shoulder, so only the lead reads them; and where none are
    /// missing elsewhere, none may be missing here.
    fn told(&self, action: &Action, decision: Decision) -> Vec<String> {
        if !self.call.duress || self.viewer.role == Role::Lead {
            return decision.policies;
        }
        let calm = self.policy.decide(&Request { actor: self.actor(), action, facts: &self.calm_facts(action) });
        if calm.outcome == decision.outcome { calm.policies } else { Vec::new() }
    }

    /// What the first policy that explains itself says.
    fn why(&self, policies: &[String]) -> String {
        policies.iter().find_map(|id| self.policy.explain(id)).unwrap_or_default().to_owned()
    }

    fn fields(&self, profile: &Profile) -> Vec<FieldView> {
        let view = |field| self.field(field, profile);
        Field::ALL.into_iter().map(view).filter(|f| f.disclosure != Disclosure::Hidden || f.opens_at.is_some()).collect()
    }

    fn field(&self, field: Field, profile: &Profile) -> FieldView {
        let look = Action::on(Verb::View, field);
        let seen = self.decide(&look, false);
        let revealed = self.call.revealed.contains(&field);
        let may = |verb| self.decide(&Action::on(verb, field), false).permits();
        let with_reason = !seen.permits() && self.decide(&look, true).permits();
        // Something looked at with a written reason stays on the screen of whoever gave it.
        let (disclosure, values) = if seen.permits() || (revealed && with_reason) {
            let disclosure = if may(Verb::Speak) { Disclosure::Speakable } else { Disclosure::Visible };
            (disclosure, if revealed { clear(field, profile) } else { Vec::new() })
        } else if may(Verb::Mask) {
            (Disclosure::Masked, masked(field, profile))
        } else if may(Verb::Match) {
            (Disclosure::CompareOnly, Vec::new())
        } else {
            (Disclosure::Hidden, Vec::new())
        };
        let opens_at = match seen.outcome {
            Outcome::StepUp { to } => Some(to),
            Outcome::Permit | Outcome::Refuse { .. } => None,
        };
        let policies = self.told(&look, seen);
        let why = self.why(&policies);
        FieldView { field, disclosure, values, revealed, opens_at, with_reason, policies, why }
    }

    fn actions(&self, factors: &[FactorKind]) -> Vec<ActionView> {
        CATALOGUE.iter().map(|(verb, object)| Action::new(*verb, *object))
            .filter(|action| action.object != "end_freeze" || self.subject.is_some_and(|b| b.frozen))
            .map(|action| self.action(action, factors)).collect()
    }

    fn action(&self, action: Action, factors: &[FactorKind]) -> ActionView {
        let mut facts = self.call.facts(self.subject, &action);
        let mut decision = self.decide(&action, false);
        // Under duress the screen must not differ: what is held looks as it would without, and
        // nothing looks easier than it was.
        if decision.outcome == (Outcome::Refuse { way_out: WayOut::Held }) {
            facts = self.calm_facts(&action);
            decision = self.policy.decide(&Request { actor: self.actor(), action: &action, facts: &facts });
        }
        let (offer, needs) = match decision.outcome {
            Outcome::Permit => (Offer::Now, None),
            Outcome::StepUp { to } => (Offer::StepUp, Some(to)),
            Outcome::Refuse { way_out: WayOut::Online } => (Offer::Online, None),
            Outcome::Refuse { way_out: WayOut::Specialist } => (Offer::Specialist, None),
            Outcome::Refuse { way_out: WayOut::None | WayOut::Held } => (Offer::Refused, None),
        };
        let plans = if offer == Offer::StepUp {
            self.policy.plan(self.actor(), &action, &facts, factors)
        } else {
            Vec::new()
        };
        let asked = self.call.decisions.iter().any(|(known, _)| *known == action);
        let done = self.call.performed.iter().filter(|(known, _)| *known == action).count();
        let policies = self.told(&action, decision);
        let why = self.why(&policies);
        ActionView { action, offer, needs, plans, policies, why, asked, done }
    }
}

fn clear(field: Field, profile: &Profile) -> Vec<String> {
    match field {
        Field::Upcoming => profile.orders.iter().filter_map(|o| o.due).map(day).collect(),
        Field::Orders => profile.orders.iter().map(|o| {
            let due = o.due.map(|d| format!(", due {}", day(d))).unwrap_or_default();
            format!("{} · {} · {}{due}", o.number.expose(), o.what.expose(), o.status)
        }).collect(),
        other => profile.field(other).into_iter().map(str::to_owned).collect(),
    }
}

fn day(at: Timestamp) -> String { at.to_string().chars().take(10).collect() }

/// The ends that their owner recognises and a stranger cannot use: two digits of a number, one
/// letter of an address on either side of the at sign (never the whole domain: `retailer_gives_email`).
fn masked(field: Field, profile: &Profile) -> Vec<String> {
    profile.present_contacts()
        .filter(|c| matches!((field, c.kind), (Field::Phone, ContactKind::Mobile | ContactKind::Landline) | (Field::Email, ContactKind::Email)))
        .map(|c| {
            let value = c.value.expose();
            match value.split_once('@') {
                Some((local, domain)) => format!("{}•••@{}•••", first(local), first(domain)),
                None => format!("••• {}", value.chars().skip(value.chars().count().saturating_sub(2)).collect::<String>()),
            }
        }).collect()
}

fn first(text: &str) -> String { text.chars().take(1).collect() }

/// One waiting or live call in the list, for those who do not have it.
#[derive(Debug, Clone, Serialize)]
pub struct QueueItem {
    /// Which call.
    pub call: CallId,
    /// Where the caller is.
    pub stage: Stage,
    /// In which queue.
    pub queue: Option<Queue>,
    /// Since when they wait, or when the call came in.
    pub since: Timestamp,
    /// Present assurance.
    pub level: Level,
    /// The language spoken.
    pub lang: Lang,
    /// Where the risk leads.
    pub band: Band,
    /// How many claims came with it.
    pub claims: usize,
    /// Who has it.
    pub agent: Option<AgentId>,
    /// The viewer may take it.
    pub may_take: bool,
    /// The duress word was used: to the lead alone.
    pub duress: bool,
}

/// The list entry of a call.
pub fn queue_item(call: &Call, viewer: Viewer) -> QueueItem {
    QueueItem {
        call: call.id,
        stage: call.stage,
        queue: call.queue,
        since: call.waiting_since.unwrap_or(call.started),
        level: call.level,
        lang: call.language(),
        band: if call.shadow { Band::Low } else { call.band() },
        claims: call.claims.iter().filter(|c| !c.accounts.is_empty()).count(),
        agent: call.agent.map(|(agent, _)| agent),
        may_take: call.stage == Stage::Waiting && call.queue.is_some_and(|q| q.serves(viewer.role)),
        duress: call.duress && viewer.role == Role::Lead,
    }
}

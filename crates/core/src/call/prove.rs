//! Challenges: asking for a factor, judging what comes back, raising assurance. The only caller of
//! [`Turn::proved`] holds a [`Proof`], which only the factor code can make.

use super::{Alert, Attempt, Challenge, Check, Closed, Deny, Effect, Ending, Event, LevelCause, Rejected, Stage, Turn, ask::Ask};
use crate::{
    action::{Action, Level, Request},
    factor::{self, FactorKind, Owner, Proof, Spend, Verdict},
    id::{AccountId, AgentId, AuthenticatorId, ChallengeId, MessageId},
    message::{Body, Message, OnFile},
    prompt::Prompt,
    secret::Secret,
    speech::{Heard, Hearing},
    time::Span,
};

impl Turn<'_, '_> {
    /// The factors of who is speaking that are past their cooling-off time and that policy lets be
    /// used on this call, in the order in which they are asked (`amazon_honours_totp`).
    pub(super) fn usable_kinds(&self) -> Vec<FactorKind> {
        usable_kinds(&self.call, self.principal.as_ref(), self.actor(), self.cx.policy, self.cx.now)
    }

    /// Opens a challenge. `then` are asked for afterwards; `agent` stays reserved meanwhile.
    /// `false`: this factor cannot be asked for now, and nothing is open.
    pub(super) fn challenge(&mut self, kind: FactorKind, action: Option<Action>, then: Vec<FactorKind>, agent: Option<AgentId>) -> bool {
        let (now, params) = (self.now(), self.cx.params);
        let Some(brief) = self.principal.as_ref().filter(|b| self.call.principal == Some(b.id)) else { return false };
        let account = brief.id;
        let Some(factor) = brief.usable(now).find(|f| f.kind == kind).cloned() else { return false };
        if self.refused(Deny::Locked(kind)) || self.refused(Deny::Send(kind)) {
            self.emit(Event::FactorUnavailable { kind });
            return false;
        }
        let spoken = self.hears(kind);
        // Until now the caller was talking: say why the agent is gone.
        if let (Stage::Talking, true, Some(action)) = (self.call.stage, kind.is_keyed() || spoken, &action) {
            self.say(Prompt::StepUp { action: action.clone() });
        }
        // A code that is typed by whoever is signed in has no place beside one that is asked of somebody.
        self.close_link(Closed::CallMoved);
        let id = ChallengeId(self.random.id());
        let mut challenge = Challenge {
            id, kind, authenticator: factor.authenticator, contact: factor.contact, hash: None, message: None,
            expires: now + self.life, left: params.tries.clamp(1, 5), action: action.clone(), then, agent, spoken,
        };
        if let (true, Some(contact)) = (kind.is_sent(), factor.contact) {
            // A fresh code for every challenge: an old one, still on its way, is worth nothing.
            let code = self.random.digits(usize::from(params.code_digits.clamp(6, 10)));
            challenge.hash = Some(self.cx.pepper.code_hash(id, &code));
            let message = MessageId(self.random.id());
            challenge.message = Some(message);
            let origin = self.origin();
            self.count(format!("send/{account}/{origin}"), Some(params.throttle_window), params.sends, Attempt::Failed, Deny::Send(kind));
            self.count(format!("send/{account}"), Some(Span::hours(1)), params.sends * 16, Attempt::Failed, Deny::Send(kind));
            let lang = self.principal.as_ref().and_then(|b| b.language).unwrap_or_else(|| self.call.language());
            let body = Body::Code { code, challenge: id, kind, action: action.clone() };
            self.out.effects.push(Effect::Send(Message { id: message, to: OnFile { account, contact }, lang, body }));
        }
        if kind.is_elsewhere() {
            self.ask_elsewhere(account, id, kind, action);
        }
        // An authenticator that is locked for this line is not asked for at all.
        self.count_entry(account, factor.authenticator, kind, Attempt::Neutral, Deny::Locked(kind));
        self.emit(Event::Challenged { challenge });
        true
    }

    /// Asks over another channel. Whoever asks often enough is let in at some time by a tired
    /// customer ("push bombing"): so it is limited, and a line that the customer disowned is not
    /// heard for a day.
    fn ask_elsewhere(&mut self, account: AccountId, challenge: ChallengeId, kind: FactorKind, action: Option<Action>) {
        let (origin, params) = (self.origin(), self.cx.params);
        self.count(format!("approval/{account}/{origin}"), Some(params.throttle_window), params.approvals, Attempt::Failed, Deny::Send(kind));
        self.count(format!("approval/{account}"), Some(Span::hours(1)), params.approvals * 4, Attempt::Failed, Deny::Send(kind));
        self.count(format!("disowned/{account}/{origin}"), Some(Span::days(1)), 1, Attempt::Neutral, Deny::Locked(kind));
        self.out.effects.push(match kind {
            FactorKind::Provider => Effect::AskProvider { account, challenge, action },
            _ => Effect::Wake { account, challenge, action },
        });
    }

    /// Counts one entry for an authenticator: per line of origin, so that a stranger locks out
    /// only themselves, and over all lines up to the bound of NIST SP 800-63B-4 §3.2.2.
    fn count_entry(&mut self, account: AccountId, authenticator: AuthenticatorId, kind: FactorKind, outcome: Attempt, deny: Deny) {
        let (origin, params) = (self.origin(), self.cx.params);
        self.count(format!("entry/{account}/{authenticator}/{kind}/{origin}"), Some(params.throttle_window), params.throttle, outcome, deny);
        self.count(format!("entry/{account}/{authenticator}/{kind}"), None, params.lifetime_failures.min(100), outcome, deny);
    }

    /// Whether this is said to a recogniser on this call: once, and if that did not help, to the agent.
    pub(super) fn hears(&self, kind: FactorKind) -> bool {
        self.hearing().is_some() && kind == FactorKind::VerbalPassword && !self.call.words_to_agent
    }

    /// The recogniser of this call's telephony.
    fn hearing(&self) -> Option<&Hearing> { self.cx.params.hearing.iter().find(|hearing| hearing.adapter == self.call.adapter) }

    /// Words from a recogniser. Where nobody asked for them, or where it is not sure, nothing was said.
    pub(super) fn heard(&mut self, heard: &Heard) -> Result<(), Rejected> {
        let asked = self.call.stage == Stage::Proving && self.call.challenge.as_ref().is_some_and(|c| c.spoken);
        let floor = self.hearing().filter(|_| asked).map(|hearing| hearing.floor);
        match floor.and_then(|floor| heard.words(self.call.language(), floor)) {
            Some(words) => self.present(words),
            None => {
                self.no_keys();
                Ok(())
            }
        }
    }

    /// Keys for the open challenge.
    pub(super) fn prove_keys(&mut self, text: &str) -> Result<(), Rejected> {
        let spoken = self.call.challenge.as_ref().is_some_and(|c| c.spoken);
        match text {
            "*" => self.close_challenge(Closed::CallerLeft),
            "0" if self.call.agent.is_some() => self.close_challenge(Closed::CallerLeft),
            "0" => {
                if let Some(id) = self.call.challenge.as_ref().map(|c| c.id) {
                    self.emit(Event::ChallengeClosed { challenge: id, why: Closed::CallerLeft });
                }
                self.choose_music();
            }
            // Whoever does not want to say it aloud presses anything.
            _ if spoken => self.close_challenge(Closed::CallerLeft),
            entry => self.present(Secret::new(entry))?,
        }
        Ok(())
    }

    /// Something was keyed or said in answer to the open challenge.
    pub(super) fn present(&mut self, presented: Secret) -> Result<(), Rejected> {
        let challenge = self.call.challenge.clone().ok_or(Rejected::NoChallenge)?;
        let account = self.call.principal.ok_or(Rejected::NoAccount)?;
        if challenge.expires <= self.now() {
            self.close_challenge(Closed::Expired);
            return Ok(());
        }
        // Not judged at all: a right entry and a wrong one look the same.
        if self.refused(Deny::Challenge) {
            self.say(Prompt::NoMoreTries);
            self.close_challenge(Closed::Throttled);
            return Ok(());
        }
        let owner = Owner { account, authenticator: challenge.authenticator };
        match &challenge.hash {
            Some(hash) => self.verified(factor::check_code(owner, challenge.kind, challenge.id, hash, &presented, self.cx.pepper)),
            None => {
                self.out.ask = Some(Ask::Verify { account, authenticator: challenge.authenticator, kind: challenge.kind, presented });
                Ok(())
            }
        }
    }

    /// The open challenge was judged.
    pub(super) fn verified(&mut self, verdict: Verdict) -> Result<(), Rejected> {
        let challenge = self.call.challenge.clone().ok_or(Rejected::OutOfTurn)?;
        let account = self.call.principal.ok_or(Rejected::OutOfTurn)?;
        let (authenticator, kind) = (challenge.authenticator, challenge.kind);
        match verdict {
            // Right, but used before, counts as wrong, and is told apart by nobody.
            Verdict::Proven { proof, once }
                if proof.account() == account && answers(&challenge, &proof) && !self.refused(Deny::Spent) =>
            {
                self.count_entry(account, authenticator, kind, Attempt::Succeeded, Deny::Challenge);
                self.proved(proof, once, Some(challenge.id));
                if self.aloud(kind) {
                    self.say(Prompt::Verified);
                }
                self.go_on(&challenge);
            }
            Verdict::Proven { .. } | Verdict::Wrong => {
                self.count_entry(account, authenticator, kind, Attempt::Failed, Deny::Challenge);
                self.wrong(&challenge);
            }
        }
        Ok(())
    }

    fn wrong(&mut self, challenge: &Challenge) {
        let left = challenge.left.saturating_sub(1);
        self.emit(Event::ChallengeFailed { challenge: challenge.id, left });
        let aloud = self.aloud(challenge.kind);
        if left == 0 {
            if aloud {
                self.say(Prompt::NoMoreTries);
            }
            self.close_challenge(Closed::Exhausted);
        } else if aloud {
            self.say(Prompt::TryAgain);
        }
    }

    /// Whether the telephone says how it went: not into a conversation, when the answer came from elsewhere.
    fn aloud(&self, kind: FactorKind) -> bool { !kind.is_elsewhere() || self.call.agent.is_none() }

    /// Takes a proof in. Assurance rises here and nowhere else, by what policy makes of the proofs.
    pub(super) fn proved(&mut self, proof: Proof, once: Option<Spend>, challenge: Option<ChallengeId>) {
        match once {
            Some(Spend::Step(value)) => self.guard(Check::Step { authenticator: proof.authenticator(), value }, Deny::Spent),
            Some(Spend::Once(key)) => self.guard(Check::Once { key, forever: false }, Deny::Spent),
            Some(Spend::Forever(key)) => self.guard(Check::Once { key, forever: true }, Deny::Spent),
            None => {}
        }
        let (kind, duress) = (proof.kind(), proof.duress());
        if let Some(link) = &self.call.link {
            self.out.effects.push(Effect::CloseLink { link: link.id, alphabet: link.alphabet });
        }
        // An old proof must not be kept alive by a fresh one of another class.
        let fresh_from = self.now() - self.cx.params.level_life;
        self.emit(Event::Proved { account: proof.account(), authenticator: proof.authenticator(), kind, class: kind.class(), challenge, duress, fresh_from });
        if duress {
            self.out.effects.push(Effect::Alert(Alert::Duress));
        }
        let action = Action::new(crate::action::Verb::Reach, Level::Strong.name());
        let mut facts = self.call.facts(self.subject.as_ref(), &action);
        // Who proves is the caller themselves, whoever they speak for.
        facts.delegate = None;
        let (level, policies) = self.cx.policy.level(self.actor(), &facts);
        if level > Level::Identified {
            let expires = Some(self.now() + self.cx.params.level_life);
            self.emit(Event::LevelChanged { level: level.max(self.call.level), expires, cause: LevelCause::Proof, policies });
        }
    }

    /// After a proof: the next factor that was asked for, or back to where the caller was.
    fn go_on(&mut self, done: &Challenge) {
        let mut then = done.then.iter().copied();
        if let Some(next) = then.next().filter(|next| self.usable_kinds().contains(next)) {
            // A word that is said to the agent: the caller has to hear the agent.
            if !next.is_keyed() && !self.hears(next) {
                self.back_to_agent();
            }
            if self.challenge(next, done.action.clone(), then.collect(), done.agent) {
                return;
            }
        }
        if done.agent.is_some() { self.back_to_agent() } else { self.choose_music() }
    }

    /// Ends the open challenge without a proof and goes on.
    pub(super) fn close_challenge(&mut self, why: Closed) {
        let Some(challenge) = self.call.challenge.clone() else { return };
        self.emit(Event::ChallengeClosed { challenge: challenge.id, why });
        if challenge.agent.is_some() {
            self.back_to_agent();
        } else if matches!(self.call.stage, Stage::Proving | Stage::Approving) {
            self.authenticate();
        } else if self.call.stage == Stage::Remote {
            self.end(Ending::Unanswered);
        }
    }

    fn back_to_agent(&mut self) {
        if self.call.stage == Stage::Proving {
            self.say(Prompt::BackToAgent);
            self.ask_for(Stage::Talking);
        }
    }
}

/// Whether this proof is one that the challenge asked for. A passkey is more than the code that may
/// be typed instead of it; never the other way round.
fn answers(challenge: &Challenge, proof: &Proof) -> bool {
    match (challenge.kind, proof.kind()) {
        (FactorKind::Approval | FactorKind::Passkey, FactorKind::Passkey) => true,
        (asked, proved) => asked == proved && proof.authenticator() == challenge.authenticator,
    }
}

/// The factors of who is speaking that may be asked for on this call, best first.
pub fn usable_kinds(
    call: &super::Call,
    principal: Option<&crate::account::Brief>,
    actor: crate::action::Actor,
    policy: &dyn crate::action::Policy,
    now: crate::time::Timestamp,
) -> Vec<FactorKind> {
    // Nothing more is asked of a customer who is not on the call.
    let Some(brief) = principal.filter(|_| !call.disowned) else { return Vec::new() };
    let usable: Vec<FactorKind> = brief.usable(now).map(|f| f.kind).collect();
    let strongest = usable.iter().map(|k| k.strength()).max().unwrap_or(0);
    let mut out = Vec::new();
    for kind in usable {
        let action = Action::use_factor(kind);
        let mut facts = call.facts(principal, &action);
        facts.stronger_set_up = strongest > kind.strength();
        // Who proves is the caller themselves, whoever they speak for.
        facts.delegate = None;
        if !out.contains(&kind) && policy.decide(&Request { actor, action: &action, facts: &facts }).permits() {
            out.push(kind);
        }
    }
    out
}

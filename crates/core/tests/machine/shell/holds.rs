//! What must hold after every commit, whatever happened.

use super::*;

impl Shell {
    pub(super) fn holds(&mut self, before: &Call, done: &Done, right: &[FactorKind], what: &Do) {
        let (after, started) = (&self.call, before.n > 0);
        assert!(before == after || !done.events.is_empty(), "changed without an event");
        // Assurance.
        let proved: Vec<FactorKind> = done.events.iter().filter_map(|e| match e { Event::Proved { kind, .. } => Some(*kind), _ => None }).collect();
        assert!(proved.iter().all(|kind| right.contains(kind)), "{proved:?} proved out of {right:?}");
        assert!(proved.is_empty() || !done.refused.iter().any(|d| matches!(d, Deny::Challenge | Deny::Spent)), "proved by a refused entry");
        for event in &done.events {
            match event {
                Event::Proved { .. } => self.proved_since = true,
                Event::Switched { .. } | Event::Disowned { .. } | Event::LevelChanged { cause: LevelCause::Expiry, .. } => self.proved_since = false,
                Event::Ended { .. } => self.ended += 1,
                _ => {}
            }
        }
        assert!(after.level <= Level::Identified || self.proved_since, "{} without a proof", after.level);
        assert!(after.level <= Level::Identified || !after.proofs.is_empty());
        assert!(after.level <= Level::Identified || after.level_expires.is_some_and(|at| at <= self.now + self.params.level_life));
        if matches!(what, Do::Tick | Do::NoKeys | Do::HungUp | Do::Delivered(..) | Do::Freeze | Do::Signals(..) | Do::Mark(..) | Do::Recorded(..)) {
            assert!(after.level <= before.level, "risen by {what:?}");
        }
        // The end is the end.
        assert!(self.ended <= 1);
        assert_eq!(self.ended == 1, after.ended.is_some() && after.stage == Stage::Ended);
        if before.ended.is_some() && !done.events.is_empty() {
            assert!(matches!(what, Do::Delivered(..) | Do::Mark(..)), "{what:?} after the end");
        }
        if after.ended.is_some() {
            assert!(after.challenge.is_none() && after.revealed.is_empty() && after.deadline(&self.params).is_none());
        }
        let by_risk = matches!(after.ended, Some((Ending::Risk | Ending::CalledBack | Ending::SelfService, _)));
        assert!(!by_risk || !after.shadow || after.denied, "a shadow ends no call");
        self.subject_holds(before, done);
        self.messages_hold(before, done);
        // Who has the call.
        if let Do::Desk(agent, role, command) = what {
            assert!(matches!(command, Command::Accept) || before.agent == Some((*agent, *role)), "by somebody else");
        }
        if done.has(|e| matches!(e, Event::HandedOver { .. } | Event::Switched { .. } | Event::SpeaksFor { .. })) {
            assert!(after.revealed.is_empty() && after.challenge.is_none() == (before.challenge.is_none() || done.has(|e| matches!(e, Event::ChallengeClosed { .. }))));
        }
        // Stages and challenges belong together.
        match &after.challenge {
            Some(c) if c.is_to_machine() => assert_eq!(after.stage, Stage::Proving, "an open {}", c.kind),
            Some(c) if c.kind.is_elsewhere() && c.agent.is_none() => assert!(matches!(after.stage, Stage::Approving | Stage::Remote), "an open {} at {:?}", c.kind, after.stage),
            Some(c) => assert_eq!(after.stage, Stage::Talking, "an open {}", c.kind),
            None => assert!(!matches!(after.stage, Stage::Proving | Stage::Approving), "proving nothing"),
        }
        self.voice_holds(before, done, what);
        assert!(after.stage != Stage::Linking || after.link.is_some(), "waits for nothing");
        // Nothing is asked of a customer who is not on the call.
        assert!(!after.disowned || (after.challenge.is_none() && after.level <= Level::Identified));
        if let Some(c) = &after.challenge {
            assert_eq!(c.agent, after.agent.map(|(agent, _)| agent));
        }
        let ours = matches!(after.stage, Stage::Dialing | Stage::Confirming) && after.agent.is_some();
        assert_eq!(after.agent.is_some() && after.ended.is_none(), ours || after.stage == Stage::Talking || after.stage.is_voice() || after.challenge.as_ref().is_some_and(|c| c.agent.is_some()));
        if matches!(what, Do::Tick) && started {
            assert!(after.deadline(&self.params).is_none_or(|at| at > self.now), "would wake at once again");
        }
        let last = &self.log[self.log.len() - done.events.len()..];
        for text in last {
            self.nothing_personal(text);
        }
        self.views_hold();
    }

    /// A voice comes on file by consent alone, of a strong caller alone, and proves nothing.
    fn voice_holds(&self, before: &Call, done: &Done, what: &Do) {
        let after = &self.call;
        assert_eq!(after.stage.is_voice(), after.voice.is_going_on(), "{:?}", after.stage);
        assert!(!after.voice.is_going_on() || after.agent.is_some() && after.principal == after.subject);
        if done.has(|e| matches!(e, Event::VoiceConsented { .. })) {
            assert!(matches!(what, Do::Keys(keys) if keys.starts_with('1')) && before.stage == Stage::VoiceConsent, "consent by {what:?}");
        }
        if done.has(|e| matches!(e, Event::VoiceOffered { .. } | Event::VoiceEnrolled { .. })) {
            assert!(before.level == Level::Strong && before.delegate.is_none());
        }
        // What was not alike stays so until a comparison is wholly alike, as long as the same account is meant.
        let word = |call: &Call| call.voice.last.map(Outcome::likeness);
        if word(before) == Some(Likeness::NotAlike) && (before.subject, before.principal) == (after.subject, after.principal) {
            assert!(matches!(word(after), Some(Likeness::NotAlike | Likeness::Alike)), "{:?} after {:?}", after.voice.last, before.voice.last);
        }
        for event in &done.events {
            if let Event::VoiceEnrolled { account, held, .. } = event {
                assert!(before.voice.enrolling.as_ref().is_some_and(|e| e.consented && e.taken == 2) && after.principal == Some(*account));
                let kept = done.effects.iter().any(|e| matches!(e, Effect::Change(c) if matches!(c.change, Change::Voice(_)) && c.account == *account));
                assert_eq!(kept, !held);
            }
            if let Event::DigitsAsked { account, saying } = event {
                let on_file = self.profile(*account).is_some_and(|p| p.voice.is_some());
                assert!(after.principal == Some(*account) && (on_file || saying.learning.is_some_and(|l| l.held)), "digits of somebody without a voice on file");
            }
            if let Event::VoiceCompared { account, .. } = event {
                assert!(self.profile(*account).is_some_and(|p| p.voice.is_some()), "compared without consent");
            }
        }
        let enrolled = done.has(|e| matches!(e, Event::VoiceEnrolled { held: false, .. }));
        let changed = done.effects.iter().filter(|e| matches!(e, Effect::Change(c) if matches!(c.change, Change::Voice(_)))).count();
        assert_eq!(changed, usize::from(enrolled), "a voice without an enrolment");
    }

    fn subject_holds(&self, before: &Call, done: &Done) {
        let after = &self.call;
        let moved = |wanted: fn(&Event) -> bool| done.has(wanted);
        if before.subject.is_some() && after.subject != before.subject {
            assert!(moved(|e| matches!(e, Event::Switched { .. } | Event::SpeaksFor { .. } | Event::Identified { instead_of: Some(_), .. })));
            if before.opened() || before.proofs.iter().len() > 0 || !before.revealed.is_empty() {
                assert!(moved(|e| matches!(e, Event::Switched { .. } | Event::SpeaksFor { .. })), "an opened account was switched silently");
            }
        }
        if before.principal.is_some() && after.principal != before.principal {
            assert!(moved(|e| matches!(e, Event::Switched { .. } | Event::Identified { instead_of: Some(_), .. })), "the speaker changed silently");
        }
        assert!(after.delegate.is_some() || after.principal == after.subject);
    }

    /// Messages go to contacts on file of the right account, codes to those past cooling-off.
    fn messages_hold(&self, before: &Call, done: &Done) {
        for effect in &done.effects {
            if let Effect::RingBack { account, contact } = effect {
                let brief = self.brief(Some(*account)).expect("an account on file");
                assert!(self.call.subject == Some(*account) && brief.usable(self.now).any(|f| f.contact == Some(*contact)));
            }
            let Effect::Send(message) = effect else { continue };
            let brief = self.brief(Some(message.to.account)).expect("an account on file");
            match &message.body {
                Body::Code { kind, .. } => {
                    assert!(brief.usable(self.now).any(|f| f.kind == *kind && f.contact == Some(message.to.contact)));
                    assert_eq!(self.call.principal, Some(message.to.account));
                    assert!(self.call.challenge.as_ref().is_some_and(|c| c.message == Some(message.id)), "a code that nobody asks for");
                }
                Body::Ring { call } => {
                    assert!(brief.usable(self.now).any(|f| f.contact == Some(message.to.contact)));
                    assert_eq!((self.call.principal, *call), (Some(message.to.account), self.call.id));
                }
                Body::Changed { .. } | Body::Summary { .. } | Body::Online { .. } | Body::ChangedOnline { .. } => {
                    assert!(brief.notices.iter().any(|n| n.contact == message.to.contact));
                    assert!([before.subject, self.call.subject].contains(&Some(message.to.account)));
                }
            }
        }
    }

    /// No secret of any customer, and no code, in what is kept for ever.
    fn nothing_personal(&self, text: &str) {
        for (who, field, value) in personal() {
            assert!(!contains(text, value), "{field:?} of {who:?} in {text}");
        }
        self.nothing_secret(text);
        if let Some(code) = self.given_code() {
            assert!(!contains(text, &code), "a code that travels in {text}");
        }
    }

    fn nothing_secret(&self, text: &str) {
        let codes = self.sent.iter().filter_map(|m| match &m.body { Body::Code { code, .. } => Some(code.expose()), Body::Summary { report, .. } => Some(report.expose()), _ => None });
        let service: Vec<&str> = self.service.iter().map(|(code, _)| code.as_str()).collect();
        let words: Vec<&str> = world::ALL.into_iter().filter_map(Who::pin).chain([world::VERBAL, world::DURESS]).chain(world::BACKUP).collect();
        let secrets: Vec<&str> = codes.chain(service).chain(words).collect();
        for secret in secrets {
            assert!(!contains(text, secret), "a code or word in {text}");
        }
    }

    pub fn view(&self, agent: AgentId, role: Role) -> AgentView {
        let profile = self.call.subject.and_then(|id| self.profile(id));
        agent_view(&self.call, self.brief(self.call.principal).as_ref(), profile, Viewer { agent, role }, &Toy, &self.pepper, self.params.voice.as_ref(), self.now)
    }
    pub fn mine(&self) -> AgentView {
        let (agent, role) = self.call.agent.expect("an agent");
        self.view(agent, role)
    }

    /// What each kind of viewer gets.
    fn views_hold(&self) {
        let holder = self.call.agent;
        for (agent, role) in [(AGENT, Role::Agent), (AGENT, Role::Specialist), (OTHER, Role::Agent), (LEAD, Role::Lead), (LEAD, Role::Admin)] {
            let view = self.view(agent, role);
            let holds = holder == Some((agent, role));
            assert_eq!(view.mine, holds);
            assert!(holds || (view.fields.is_empty() && view.actions.is_empty() && view.factors.is_empty()), "shown to somebody who does not have the call");
            assert!(!view.duress || role == Role::Lead);
            let json = serde_json::to_string(&view).unwrap();
            self.nothing_secret(&json);
            assert!(role == Role::Lead || !json.contains("duress_"), "duress on the screen of an agent: {json}");
            for (who, field, value) in personal() {
                let shown = holds && self.call.subject == Some(who.id()) && self.call.revealed.contains(&field)
                    && view.fields.iter().any(|f| f.field == field && f.revealed && f.disclosure >= countersign_core::view::Disclosure::Visible);
                assert!(shown || !contains(&json, value), "{field:?} of {who:?} on a screen: {json}");
            }
        }
    }
}

/// Whether `text` has `secret` in it as a word of its own: six digits within a hash are no code.
fn contains(text: &str, secret: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
    text.match_indices(secret).any(|(at, _)| edge(text[..at].chars().next_back()) && edge(text[at + secret.len()..].chars().next()))
}

//! One line of a switch, pure: what is to be done, what is heard, and what is ordered because of it.
//! The rules of an entry are those of our own gateway (`crates/sip/src/call.rs`).

use std::{collections::VecDeque, mem};

use countersign_core::{prompt::Music, secret::Secret, voice::Sound};
use tokio::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

/// No prompt is longer. A switch that does not say that it has ended does not keep a caller for ever.
const LONGEST_PROMPT: Duration = Duration::from_secs(120);
/// What an answer may take longer than it may last: the switch is slow, or the network.
const SLOW: Duration = Duration::from_secs(3);
/// How long an agent's telephone may ring, with something over: the switch gives up first.
pub const RING: Duration = Duration::from_secs(30);
const RING_AND_MORE: Duration = Duration::from_secs(35);

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Play what is at this address.
    Say(String),
    /// Collect keys. A key that comes while the `Say`s right before it go on ends them, and counts.
    Gather {
        /// Done with so many.
        max: u8,
        /// Given up after so long without a key.
        timeout: Duration,
        /// The keys are a secret.
        secret: bool,
    },
    /// Listen to what the caller says, for so long at most. An agent who is connected stays and hears none of
    /// it. A key ends it, also while the `Say`s right before it go on: then that is what is told.
    Listen(Duration),
    /// Music until something else happens; every key meanwhile is an entry. An agent who was connected is
    /// let go.
    Hold(Music),
    /// Connect with the agent's telephone; silence if there is none: the desk works without.
    Bridge(Option<String>),
    /// End the call.
    HangUp,
}

/// What a switch is told, one thing after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Play what is at this address, and say when it has ended. Clips of a line are counted.
    Play(u64, String),
    /// Stop this clip.
    Stop(u64),
    /// Music, over and over.
    Music(Music),
    /// No music any more.
    Quiet,
    /// Call an agent's telephone.
    Dial(String),
    /// Get ready to listen to the caller.
    Ear,
    /// Listen to the caller from now on, for so long at most, and say what they said under this number.
    Listen(u64, Duration),
    /// Listen no more, and forget what was heard.
    Deaf,
    /// Caller and agent hear each other.
    Join,
    /// They do not, and no key of the caller reaches the agent, who stays.
    Part,
    /// The agent's telephone is hung up, or rings no more.
    Drop,
    /// Recordings of the caller hold nothing of what comes now.
    Mask,
    /// They do again.
    Unmask,
    /// End the call.
    HangUp,
}

/// What happens on a line.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A key.
    Key(char),
    /// A clip has ended, or cannot be played.
    Played(u64),
    /// What the caller said under this number. `None`: nobody could listen.
    Said(u64, Option<Sound>),
    /// The agent's telephone was answered.
    AgentUp,
    /// It was not, or it was hung up.
    AgentGone,
    /// The time that was waited for.
    Time,
}

/// What the machine is to decide on.
#[derive(Debug)]
pub enum Question {
    /// Keys were entered.
    Keys(Secret),
    /// None were, or nobody could listen.
    NoKeys,
    /// Something was said, or nothing until the end.
    Said(Sound),
}

#[derive(Clone, Copy)]
enum Now {
    Idle,
    Waiting,
    Playing { clip: u64, until: Instant },
    Gathering { max: u8, timeout: Duration, until: Instant },
    Listening { answer: u64, until: Instant },
    Ringing { until: Instant },
    Talking,
}

#[derive(PartialEq)]
enum Agent {
    None,
    Ringing(String),
    Up { at: String, joined: bool },
}

/// A line.
pub struct Line {
    steps: VecDeque<Step>,
    now: Now,
    clips: u64,
    entry: Zeroizing<String>,
    /// Somebody is ready to listen, or listens.
    ear: bool,
    /// Answers that were listened to.
    answers: u64,
    agent: Agent,
    music: Option<Music>,
    /// `None`: nobody knows.
    masked: Option<bool>,
}

impl Default for Line {
    fn default() -> Self {
        Self { steps: VecDeque::new(), now: Now::Idle, clips: 0, entry: Zeroizing::default(), ear: false, answers: 0, agent: Agent::None, music: None, masked: Some(false) }
    }
}

impl Line {
    /// A line that we had before we were away. The agent's telephone may be connected still.
    pub fn resumed(agent: Option<String>) -> Self {
        let agent = agent.map_or(Agent::None, |at| Agent::Up { at, joined: false });
        Self { agent, masked: None, ..Self::default() }
    }

    /// When `Heard::Time` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self.now {
            Now::Playing { until, .. } | Now::Gathering { until, .. } | Now::Listening { until, .. } | Now::Ringing { until } => Some(until),
            Now::Idle | Now::Waiting | Now::Talking => None,
        }
    }

    /// These steps from now on, whatever went on.
    pub fn begin(&mut self, now: Instant, steps: Vec<Step>) -> Vec<Order> {
        let mut out = Vec::new();
        if let Now::Playing { clip, .. } = self.now {
            out.push(Order::Stop(clip));
        }
        self.entry.zeroize();
        self.deaf(&mut out);
        if steps.iter().any(|step| matches!(step, Step::Listen(_))) {
            // While the words are said, so that nothing is lost after the tone.
            out.push(Order::Ear);
            self.ear = true;
        }
        // Before anything is asked: the first key may come while the prompt goes on.
        let secret = steps.iter().any(|step| matches!(step, Step::Gather { secret: true, .. }));
        if self.masked != Some(secret) {
            out.push(if secret { Order::Mask } else { Order::Unmask });
            self.masked = Some(secret);
        }
        self.steps = steps.into();
        self.now = match self.now {
            Now::Talking => Now::Talking,
            _ => Now::Idle,
        };
        self.advance(now, &mut out);
        out
    }

    /// Something has happened.
    pub fn hear(&mut self, now: Instant, heard: Heard) -> (Vec<Order>, Option<Question>) {
        let mut out = Vec::new();
        let question = match heard {
            Heard::Key(key) => self.key(now, key, &mut out),
            Heard::Played(clip) => {
                if matches!(self.now, Now::Playing { clip: playing, .. } if playing == clip) {
                    self.now = Now::Idle;
                    self.advance(now, &mut out);
                }
                None
            }
            Heard::Said(number, said) => match self.now {
                Now::Listening { answer, .. } if answer == number => {
                    self.deaf(&mut out);
                    self.now = Now::Idle;
                    Some(said.map_or(Question::NoKeys, Question::Said))
                }
                _ => None,
            },
            Heard::AgentUp => {
                if let Agent::Ringing(at) = &mut self.agent {
                    self.agent = Agent::Up { at: mem::take(at), joined: false };
                    // A secret may be keyed meanwhile: then he waits.
                    if matches!(self.now, Now::Ringing { .. }) {
                        self.join(&mut out);
                    }
                }
                None
            }
            Heard::AgentGone => {
                self.part_for_good(&mut out);
                None
            }
            Heard::Time => match self.now {
                Now::Playing { clip, until } if until <= now => {
                    out.push(Order::Stop(clip));
                    self.now = Now::Idle;
                    self.advance(now, &mut out);
                    None
                }
                Now::Gathering { until, .. } if until <= now => {
                    self.entry.zeroize();
                    self.now = Now::Idle;
                    Some(Question::NoKeys)
                }
                Now::Listening { until, .. } if until <= now => {
                    self.deaf(&mut out);
                    self.now = Now::Idle;
                    Some(Question::NoKeys)
                }
                Now::Ringing { until } if until <= now => {
                    self.part_for_good(&mut out);
                    None
                }
                _ => None,
            },
        };
        (out, question)
    }

    fn advance(&mut self, now: Instant, out: &mut Vec<Order>) {
        match self.steps.pop_front() {
            None => {}
            Some(Step::Say(link)) => {
                self.part(out);
                self.quiet(out);
                self.clips += 1;
                out.push(Order::Play(self.clips, link));
                self.now = Now::Playing { clip: self.clips, until: now + LONGEST_PROMPT };
            }
            Some(Step::Gather { max, timeout, .. }) => {
                self.part(out);
                self.quiet(out);
                self.now = Now::Gathering { max: max.max(1), timeout, until: now + timeout };
            }
            Some(Step::Listen(longest)) => {
                self.part(out);
                self.quiet(out);
                self.answers += 1;
                out.push(Order::Listen(self.answers, longest));
                self.now = Now::Listening { answer: self.answers, until: now + longest + SLOW };
            }
            Some(Step::Hold(music)) => {
                self.drop_agent(out);
                self.play(music, out);
                self.now = Now::Waiting;
            }
            Some(Step::Bridge(None)) => {
                self.drop_agent(out);
                self.play(Music::Silence, out);
                self.now = Now::Idle;
            }
            Some(Step::Bridge(Some(to))) => match &self.agent {
                Agent::Up { at, joined } if *at == to => {
                    if *joined {
                        self.now = Now::Talking;
                    } else {
                        self.join(out);
                    }
                }
                Agent::Ringing(at) if *at == to => {
                    self.play(Music::Calm, out);
                    self.now = Now::Ringing { until: now + RING_AND_MORE };
                }
                _ => {
                    self.drop_agent(out);
                    self.play(Music::Calm, out);
                    out.push(Order::Dial(to.clone()));
                    self.agent = Agent::Ringing(to);
                    self.now = Now::Ringing { until: now + RING_AND_MORE };
                }
            },
            Some(Step::HangUp) => {
                self.deaf(out);
                self.drop_agent(out);
                out.push(Order::HangUp);
                self.steps.clear();
                self.now = Now::Idle;
            }
        }
    }

    fn key(&mut self, now: Instant, key: char, out: &mut Vec<Order>) -> Option<Question> {
        let next = self.steps.iter().find(|step| !matches!(step, Step::Say(_)));
        // Whoever presses a key instead of speaking wants something else.
        let speaks = match self.now {
            Now::Listening { .. } => true,
            Now::Playing { clip, .. } if matches!(next, Some(Step::Listen(_))) => {
                out.push(Order::Stop(clip));
                true
            }
            _ => false,
        };
        if speaks {
            self.deaf(out);
            self.steps.clear();
            self.now = Now::Idle;
            return Some(Question::Keys(Secret::new(key.to_string())));
        }
        if let Now::Playing { clip, .. } = self.now
            && matches!(next, Some(Step::Gather { .. }))
        {
            out.push(Order::Stop(clip));
            while matches!(self.steps.front(), Some(Step::Say(_))) {
                self.steps.pop_front();
            }
            self.now = Now::Idle;
            self.advance(now, out);
        }
        if matches!(self.now, Now::Waiting) {
            return Some(Question::Keys(Secret::new(String::from(key))));
        }
        let Now::Gathering { max, timeout, .. } = self.now else { return None };
        let ends = key == '#' && max > 1;
        if ends && self.entry.is_empty() {
            return None;
        }
        if !ends {
            self.entry.push(key);
            self.now = Now::Gathering { max, timeout, until: now + timeout };
        }
        if ends || self.entry.len() >= usize::from(max) {
            self.now = Now::Idle;
            // Overwritten when it is dropped, as what it came from.
            let keys = Secret::new(self.entry.as_str());
            self.entry.zeroize();
            return Some(Question::Keys(keys));
        }
        None
    }

    fn join(&mut self, out: &mut Vec<Order>) {
        self.quiet(out);
        out.push(Order::Join);
        if let Agent::Up { joined, .. } = &mut self.agent {
            *joined = true;
        }
        self.now = Now::Talking;
    }

    fn part(&mut self, out: &mut Vec<Order>) {
        if let Agent::Up { joined, .. } = &mut self.agent
            && mem::take(joined)
        {
            out.push(Order::Part);
        }
    }

    fn deaf(&mut self, out: &mut Vec<Order>) {
        if mem::take(&mut self.ear) {
            out.push(Order::Deaf);
        }
    }

    fn drop_agent(&mut self, out: &mut Vec<Order>) {
        if mem::replace(&mut self.agent, Agent::None) != Agent::None {
            out.push(Order::Drop);
        }
    }

    /// The agent's telephone is gone: whoever talked to him waits for the desk, with music.
    fn part_for_good(&mut self, out: &mut Vec<Order>) {
        self.drop_agent(out);
        if matches!(self.now, Now::Ringing { .. } | Now::Talking) {
            self.play(Music::Calm, out);
            self.now = Now::Idle;
        }
    }

    fn play(&mut self, music: Music, out: &mut Vec<Order>) {
        if self.music != Some(music) {
            self.quiet(out);
            out.push(Order::Music(music));
            self.music = Some(music);
        }
    }

    fn quiet(&mut self, out: &mut Vec<Order>) {
        if self.music.take().is_some() {
            out.push(Order::Quiet);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn say(n: u8) -> Step { Step::Say(format!("clip-{n}")) }
    fn gather(max: u8, secret: bool) -> Step { Step::Gather { max, timeout: Duration::from_secs(8), secret } }
    fn robin() -> Step { Step::Bridge(Some("PJSIP/robin".into())) }

    struct Bench(Line, Instant);
    impl Bench {
        fn new() -> Self { Self(Line::default(), Instant::now()) }
        fn begin(&mut self, steps: &[Step]) -> Vec<Order> { self.0.begin(self.1, steps.to_vec()) }
        fn hear(&mut self, heard: Heard) -> (Vec<Order>, Option<String>) {
            let (orders, question) = self.0.hear(self.1, heard);
            (orders, question.map(|q| match q { Question::Keys(keys) => keys.expose().to_owned(), Question::NoKeys => "-".into(), Question::Said(said) => format!("{} samples", said.expose().len()) }))
        }
        fn keys(&mut self, keys: &str) -> (Vec<Order>, Option<String>) {
            keys.chars().fold((Vec::new(), None), |(mut all, asked), key| {
                let (orders, question) = self.hear(Heard::Key(key));
                all.extend(orders);
                (all, asked.or(question))
            })
        }
        fn wait(&mut self, seconds: u64) -> (Vec<Order>, Option<String>) {
            self.1 += Duration::from_secs(seconds);
            self.hear(Heard::Time)
        }
    }

    #[test]
    fn a_key_ends_all_prompts_before_an_entry_and_counts() {
        let mut line = Bench::new();
        assert_eq!(line.begin(&[say(1), say(2), gather(12, true)]), [Order::Mask, Order::Play(1, "clip-1".into())]);
        assert_eq!(line.keys("4"), (vec![Order::Stop(1)], None));
        // It had ended by itself, and says so late.
        assert_eq!(line.hear(Heard::Played(1)), (vec![], None));
        assert_eq!(line.keys("071#"), (vec![], Some("4071".into())));
        assert_eq!(line.begin(&[say(3), gather(1, false)]), [Order::Unmask, Order::Play(2, "clip-3".into())]);
        assert_eq!(line.keys("#"), (vec![Order::Stop(2)], Some("#".into())));
    }

    #[test]
    fn a_key_while_nothing_will_be_asked_is_no_answer() {
        let mut line = Bench::new();
        assert_eq!(line.begin(&[say(1), Step::Hold(Music::Calm)]), [Order::Play(1, "clip-1".into())]);
        assert_eq!(line.keys("123"), (vec![], None));
        assert_eq!(line.hear(Heard::Played(1)).0, [Order::Music(Music::Calm)]);
        // Whoever waits may want other music.
        assert_eq!(line.keys("3"), (vec![], Some("3".into())));
        assert_eq!(line.begin(&[Step::Hold(Music::Calm)]), []);
        assert_eq!(line.begin(&[Step::Hold(Music::Lively)]), [Order::Quiet, Order::Music(Music::Lively)]);
        assert_eq!(line.begin(&[gather(1, false)]), [Order::Quiet]);
        assert_eq!(line.keys("7"), (vec![], Some("7".into())));
    }

    #[test]
    fn who_says_nothing_is_told_so_and_every_key_gives_new_time() {
        let mut line = Bench::new();
        line.begin(&[gather(12, false)]);
        assert_eq!(line.wait(7), (vec![], None));
        assert_eq!(line.keys("12"), (vec![], None));
        assert_eq!(line.wait(7), (vec![], None));
        assert_eq!(line.wait(1), (vec![], Some("-".into())));
        // What was begun is forgotten.
        line.begin(&[gather(3, false)]);
        assert_eq!(line.keys("345").1.as_deref(), Some("345"));
    }

    #[test]
    fn the_agent_stays_and_hears_nothing_while_a_secret_is_keyed() {
        let mut line = Bench::new();
        assert_eq!(line.begin(&[robin()]), [Order::Music(Music::Calm), Order::Dial("PJSIP/robin".into())]);
        assert_eq!(line.hear(Heard::AgentUp).0, [Order::Quiet, Order::Join]);
        assert_eq!(line.keys("12"), (vec![], None));
        assert_eq!(line.begin(&[say(1), gather(12, true)]), [Order::Mask, Order::Part, Order::Play(1, "clip-1".into())]);
        assert_eq!(line.keys("4071#").1.as_deref(), Some("4071"));
        assert_eq!(line.begin(&[robin()]), [Order::Unmask, Order::Join]);
        assert_eq!(line.begin(&[robin()]), []);
        assert_eq!(line.hear(Heard::AgentGone).0, [Order::Drop, Order::Music(Music::Calm)]);
        assert_eq!(line.begin(&[Step::HangUp]), [Order::HangUp]);
    }

    const LONGEST: Duration = Duration::from_secs(8);

    #[test]
    fn a_caller_is_listened_to_after_the_words_and_the_agent_is_deaf() {
        let mut line = Bench::new();
        line.begin(&[robin()]);
        line.hear(Heard::AgentUp);
        let steps = [say(1), say(2), Step::Listen(LONGEST)];
        assert_eq!(line.begin(&steps), [Order::Ear, Order::Part, Order::Play(1, "clip-1".into())]);
        assert_eq!(line.hear(Heard::Played(1)).0, [Order::Play(2, "clip-2".into())]);
        assert_eq!(line.hear(Heard::Played(2)).0, [Order::Listen(1, LONGEST)]);
        // Of another answer: late, or of nobody.
        assert_eq!(line.hear(Heard::Said(7, Some(Sound::new(vec![1], None)))), (vec![], None));
        assert_eq!(line.hear(Heard::Said(1, Some(Sound::new(vec![0; 800], None)))), (vec![Order::Deaf], Some("800 samples".into())));
        assert_eq!(line.hear(Heard::Said(1, Some(Sound::new(vec![0; 800], None)))), (vec![], None), "once");
        assert_eq!(line.begin(&[robin()]), [Order::Join]);
        // Nobody could listen, or nobody says anything about it.
        for heard in [Heard::Said(2, None), Heard::Time, Heard::Said(4, None)] {
            line.begin(&[say(3), Step::Listen(LONGEST)]);
            line.hear(Heard::Played(line.0.clips));
            line.1 += LONGEST + SLOW;
            let said = if let Heard::Said(_, said) = heard { Heard::Said(line.0.answers, said) } else { heard };
            assert_eq!(line.hear(said), (vec![Order::Deaf], Some("-".into())));
        }
    }

    #[test]
    fn a_key_instead_of_words_is_what_is_told() {
        let mut line = Bench::new();
        let steps = [say(1), say(2), Step::Listen(LONGEST)];
        line.begin(&steps);
        assert_eq!(line.keys("*"), (vec![Order::Stop(1), Order::Deaf], Some("*".into())));
        assert_eq!(line.keys("5"), (vec![], None), "nothing is asked");
        line.begin(&steps[2..]);
        assert_eq!(line.keys("0"), (vec![Order::Deaf], Some("0".into())));
        // Called off from elsewhere.
        line.begin(&steps[2..]);
        assert_eq!(line.begin(&[Step::Hold(Music::Calm)]), [Order::Deaf, Order::Music(Music::Calm)]);
        line.begin(&steps);
        assert_eq!(line.begin(&steps), [Order::Stop(2), Order::Deaf, Order::Ear, Order::Play(3, "clip-1".into())]);
    }

    #[test]
    fn an_agent_who_answers_while_a_secret_is_keyed_waits_for_its_end() {
        let mut line = Bench::new();
        line.begin(&[robin()]);
        assert_eq!(line.begin(&[say(1), gather(12, true)]), [Order::Mask, Order::Quiet, Order::Play(1, "clip-1".into())]);
        assert_eq!(line.hear(Heard::AgentUp).0, []);
        line.keys("4071#");
        assert_eq!(line.begin(&[robin()]), [Order::Unmask, Order::Join]);
    }

    #[test]
    fn nobody_answers_another_agent_takes_over_and_a_prompt_that_never_ends() {
        let mut line = Bench::new();
        line.begin(&[robin()]);
        assert_eq!(line.wait(35).0, [Order::Drop]);
        line.begin(&[robin()]);
        line.hear(Heard::AgentUp);
        let sam = Step::Bridge(Some("PJSIP/sam".into()));
        assert_eq!(line.begin(&[sam]), [Order::Drop, Order::Music(Music::Calm), Order::Dial("PJSIP/sam".into())]);
        assert_eq!(line.begin(&[say(1), gather(1, false)]), [Order::Quiet, Order::Play(1, "clip-1".into())]);
        assert_eq!(line.wait(120).0, [Order::Stop(1)]);
        assert_eq!(line.wait(8).1.as_deref(), Some("-"));
    }

    #[test]
    fn after_an_absence_what_nobody_knows_is_said_again() {
        let mut line = Bench(Line::resumed(Some("PJSIP/robin".into())), Instant::now());
        assert_eq!(line.begin(&[robin()]), [Order::Unmask, Order::Join]);
        let mut line = Bench(Line::resumed(None), Instant::now());
        assert_eq!(line.begin(&[gather(12, true)]), [Order::Mask]);
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..3).prop_map(say),
            (1u8..4, any::<bool>()).prop_map(|(max, secret)| gather(max, secret)),
            Just(Step::Listen(LONGEST)),
            Just(Step::Hold(Music::Calm)),
            Just(Step::Hold(Music::Silence)),
            prop_oneof![Just(None), Just(Some("a".to_owned())), Just(Some("b".to_owned()))].prop_map(Step::Bridge),
            Just(Step::HangUp),
        ]
    }

    #[derive(Debug, Clone)]
    enum Move {
        Begin(Vec<Step>),
        Hear(Heard),
        Later(u64),
    }

    proptest! {
        /// Whatever happens in whatever order: while keys of a secret are taken, nobody listens and no
        /// recording goes on; nobody is joined who was not dialled and has answered.
        #[test]
        fn no_secret_is_keyed_in_company(moves in prop::collection::vec(prop_oneof![
            prop::collection::vec(step(), 0..4).prop_map(Move::Begin),
            prop_oneof![
                "[0-9#*]".prop_map(|key| Heard::Key(key.chars().next().unwrap())), (0u64..6).prop_map(Heard::Played), Just(Heard::AgentUp), Just(Heard::AgentGone),
                (0u64..6, any::<bool>()).prop_map(|(n, some)| Heard::Said(n, some.then(|| Sound::new(vec![1; 3], None)))),
            ].prop_map(Move::Hear),
            (1u64..130).prop_map(Move::Later),
        ], 0..60)) {
            let (mut line, mut now) = (Line::default(), Instant::now());
            let (mut dialled, mut answered, mut joined, mut masked, mut secret, mut ear) = (false, false, false, false, false, false);
            for one in moves {
                let orders = match one {
                    Move::Begin(steps) => {
                        secret = steps.iter().any(|s| matches!(s, Step::Gather { secret: true, .. }));
                        line.begin(now, steps)
                    }
                    Move::Hear(heard) => {
                        match heard {
                            Heard::AgentUp if dialled => answered = true,
                            Heard::AgentUp => continue,
                            _ => {}
                        }
                        line.hear(now, heard).0
                    }
                    Move::Later(seconds) => {
                        now += Duration::from_secs(seconds);
                        line.hear(now, Heard::Time).0
                    }
                };
                for order in orders {
                    match order {
                        Order::Dial(_) => { prop_assert!(!dialled); (dialled, answered) = (true, false); }
                        Order::Join => { prop_assert!(answered && !joined); joined = true; }
                        Order::Part => { prop_assert!(joined); joined = false; }
                        Order::Drop => (dialled, answered, joined) = (false, false, false),
                        Order::Mask => { prop_assert!(!masked); masked = true; }
                        Order::Unmask => { prop_assert!(masked); masked = false; }
                        Order::Ear => { prop_assert!(!ear); ear = true; }
                        Order::Listen(..) => prop_assert!(ear && !joined),
                        Order::Deaf => { prop_assert!(ear); ear = false; }
                        _ => {}
                    }
                }
                prop_assert_eq!(masked, secret);
                if matches!(line.now, Now::Gathering { .. } | Now::Listening { .. }) {
                    prop_assert!(!joined);
                }
                // Nobody is listened to by the way: only while it is asked for, or about to be.
                let wanted = matches!(line.now, Now::Listening { .. }) || line.steps.iter().any(|step| matches!(step, Step::Listen(_)));
                prop_assert!(!ear || wanted);
            }
        }
    }
}

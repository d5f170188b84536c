//! Where a score leads.

use serde::{Deserialize, Serialize};

/// Where a call goes before any agent answers. The order is the severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// To any agent.
    #[default]
    Agent,
    /// To a specialist.
    Specialist,
    /// The call ends, and we ring the customer at a number on file.
    CallBack,
    /// The machine alone serves the caller; whoever wants more is told the way online.
    SelfService,
    /// To nobody: a polite end.
    End,
}

impl Route {
    /// All of them, calmest first.
    pub const ALL: [Self; 5] = [Self::Agent, Self::Specialist, Self::CallBack, Self::SelfService, Self::End];
    /// The name used in settings and in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Specialist => "specialist",
            Self::CallBack => "call_back",
            Self::SelfService => "self_service",
            Self::End => "end",
        }
    }
}

/// How a screen shows where a score leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// Nothing special.
    Low,
    /// To a specialist.
    Elevated,
    /// To no person.
    High,
}

impl From<Route> for Band {
    fn from(route: Route) -> Self {
        match route {
            Route::Agent => Self::Low,
            Route::Specialist => Self::Elevated,
            Route::CallBack | Route::SelfService | Route::End => Self::High,
        }
    }
}

/// From which score on a call goes where. `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Routes {
    specialist: Option<u8>,
    call_back: Option<u8>,
    self_service: Option<u8>,
    end: Option<u8>,
}

/// As it is written: 1 to 100, or `"never"`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    specialist: Option<Threshold>,
    call_back: Option<Threshold>,
    self_service: Option<Threshold>,
    end: Option<Threshold>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Threshold {
    Score(i64),
    Word(String),
}

/// Why thresholds cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRoutes {
    /// Not a score.
    #[error("risk.routes.{route} = {written}: write a score from 1 to 100, or \"never\"")]
    Score {
        /// Of which route.
        route: &'static str,
        /// What was written.
        written: String,
    },
    /// A calmer route begins above a graver one.
    #[error("risk.routes: {graver} begins below {calmer}: the order is specialist, call_back, self_service, end, each from the same score or a higher one")]
    Order {
        /// Begins too late.
        calmer: &'static str,
        /// Begins too early.
        graver: &'static str,
    },
}

impl Default for Routes {
    fn default() -> Self { Self { specialist: Some(50), call_back: None, self_service: None, end: Some(90) } }
}

impl Routes {
    /// Checked thresholds, calmest first. `None`: never.
    pub fn new(specialist: Option<u8>, call_back: Option<u8>, self_service: Option<u8>, end: Option<u8>) -> Result<Self, BadRoutes> {
        let this = Self { specialist, call_back, self_service, end };
        let mut before: Option<(Route, u8)> = None;
        for (route, from) in this.each() {
            if !(1..=100).contains(&from) {
                return Err(BadRoutes::Score { route: route.name(), written: from.to_string() });
            }
            if let Some((calmer, least)) = before
                && from < least
            {
                return Err(BadRoutes::Order { calmer: calmer.name(), graver: route.name() });
            }
            before = Some((route, from));
        }
        Ok(this)
    }

    /// The thresholds in force, calmest first.
    pub fn each(&self) -> impl Iterator<Item = (Route, u8)> {
        let all = [(Route::Specialist, self.specialist), (Route::CallBack, self.call_back), (Route::SelfService, self.self_service), (Route::End, self.end)];
        all.into_iter().filter_map(|(route, from)| Some((route, from?)))
    }

    /// Where this score leads: the gravest route that it reaches.
    pub fn of(&self, score: u8) -> Route { self.each().filter(|(_, from)| score >= *from).map(|(route, _)| route).max().unwrap_or_default() }

    /// From which score on a call goes this way, if ever.
    pub fn from(&self, route: Route) -> Option<u8> { self.each().find(|(r, _)| *r == route).map(|(_, from)| from) }

    /// The same without calls back: nothing here can ring.
    pub fn without_call_back(self) -> Self { Self { call_back: None, ..self } }

    /// The lowest score that leads further than to a specialist.
    pub(super) fn beyond_specialist(&self) -> u8 { self.each().filter(|(route, _)| *route > Route::Specialist).map(|(_, from)| from).min().unwrap_or(101) }
}

impl TryFrom<Written> for Routes {
    type Error = BadRoutes;
    fn try_from(w: Written) -> Result<Self, BadRoutes> {
        let usual = Self::default();
        let read = |route: Route, written: Option<Threshold>, usual: Option<u8>| match written {
            None => Ok(usual),
            Some(Threshold::Word(word)) if word == "never" => Ok(None),
            Some(Threshold::Word(word)) => Err(BadRoutes::Score { route: route.name(), written: format!("{word:?}") }),
            Some(Threshold::Score(n)) => match u8::try_from(n) {
                Ok(n) if (1..=100).contains(&n) => Ok(Some(n)),
                _ => Err(BadRoutes::Score { route: route.name(), written: n.to_string() }),
            },
        };
        Self::new(
            read(Route::Specialist, w.specialist, usual.specialist)?, read(Route::CallBack, w.call_back, None)?,
            read(Route::SelfService, w.self_service, None)?, read(Route::End, w.end, usual.end)?,
        )
    }
}

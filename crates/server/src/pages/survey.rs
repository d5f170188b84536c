//! Field notes, and our own calls by the same rubric.

use askama::Template;
use countersign_core::{action::Role, factor::FactorKind, id::CallId, time::Timestamp};
use countersign_survey::{Tally, Verdict, chart};

use super::{Flash, Shell, words};

/// Something to choose.
#[derive(Debug, Clone)]
pub struct Pick {
    /// Its name in the form.
    pub name: &'static str,
    /// In words.
    pub words: &'static str,
    /// It is chosen.
    pub on: bool,
}

/// Something that was told or changed, and when.
#[derive(Debug, Clone)]
pub struct When {
    /// Its name in the form.
    pub name: String,
    /// In words.
    pub words: &'static str,
    /// When; none of them: not at all.
    pub options: Vec<Pick>,
}

/// The form for a note, as it was last filled in.
#[derive(Debug, Clone, Default)]
pub struct NoteForm {
    /// Names the command, so that it is taken once.
    pub command: String,
    /// What was typed.
    pub center: String,
    /// What was typed.
    pub industry: String,
    /// What was typed.
    pub date: String,
    /// What was typed.
    pub remarks: String,
    /// How the call came about.
    pub reached: Vec<Pick>,
    /// How the account was found.
    pub ways: Vec<Pick>,
    /// What identifies.
    pub identifiers: Vec<Pick>,
    /// What proves.
    pub factors: Vec<Pick>,
    /// What was told.
    pub given: Vec<When>,
    /// What could be changed.
    pub changed: Vec<When>,
    /// It was asked where to send the code.
    pub asked_number: bool,
    /// Relevant actions were offered.
    pub offered: bool,
    /// What is wrong with it.
    pub faults: Vec<String>,
}

/// One note in the list.
#[derive(Debug, Clone)]
pub struct NoteLine {
    /// Names it in addresses.
    pub id: String,
    /// The center.
    pub center: String,
    /// Its business.
    pub industry: String,
    /// When.
    pub date: String,
    /// What it is worth.
    pub verdict: Option<Verdict>,
    /// What decided.
    pub reasons: Vec<String>,
    /// What else was noticed.
    pub others: Vec<String>,
    /// Remarks.
    pub remarks: String,
}

/// The charts of some calls, in words and figures beside the pictures.
#[derive(Debug, Clone)]
pub struct Tallied {
    /// Where the pictures are.
    pub at: &'static str,
    /// What the charts say the calls are.
    pub of: &'static str,
    /// The first chart in words.
    pub methods: String,
    /// The second one.
    pub verdicts: String,
    /// How many calls.
    pub calls: usize,
    /// How many have a verdict.
    pub graded: usize,
    /// Verdicts with their counts.
    pub counts: Vec<(Verdict, usize)>,
    /// Group, method, count.
    pub rows: Vec<(&'static str, &'static str, usize)>,
}

impl Tallied {
    /// The figures of a tally.
    pub fn new(tally: &Tally, of: &'static str, at: &'static str) -> Self {
        use countersign_survey::Choice as _;
        let identifiers = tally.identifiers.iter().map(|(w, n)| ("identifies", w.words(), *n));
        let factors = tally.factors.iter().map(|(w, n)| ("proves", w.words(), *n));
        Self {
            at, of, methods: chart::methods_in_words(tally), verdicts: chart::verdicts_in_words(tally), calls: tally.notes, graded: tally.graded(),
            counts: tally.verdicts.clone(), rows: identifiers.chain(factors).collect(),
        }
    }
}

/// The lead's page of field notes.
#[derive(Debug, Clone)]
pub struct SurveyView {
    /// The form.
    pub form: NoteForm,
    /// The latest notes.
    pub notes: Vec<NoteLine>,
    /// The charts.
    pub tallied: Tallied,
    /// What was pasted and could not be taken in.
    pub pasted: String,
    /// Why.
    pub broken: Vec<String>,
    /// How the last command went.
    pub flash: Option<Flash>,
}

#[derive(Template)]
#[template(path = "survey.html")]
struct SurveyPage<'a> {
    shell: &'a Shell<'a>,
    view: &'a SurveyView,
}

/// The lead's page of field notes.
pub fn survey(shell: &Shell<'_>, view: &SurveyView) -> Result<String, askama::Error> { SurveyPage { shell, view }.render() }

/// One call of ours with its verdict.
#[derive(Debug, Clone)]
pub struct CallGrade {
    /// Which.
    pub id: CallId,
    /// When it came in.
    pub started: Timestamp,
    /// What it is worth.
    pub verdict: Option<Verdict>,
    /// What decided.
    pub reasons: Vec<String>,
}

/// How a factor fared.
#[derive(Debug, Clone)]
pub struct FactorLine {
    /// Which.
    pub kind: FactorKind,
    /// How often it was asked for.
    pub asked: usize,
    /// How often it was proved.
    pub proved: usize,
    /// The median time to a proof, in seconds.
    pub median: Option<i64>,
    /// How often another one was asked for instead.
    pub fell_back: usize,
    /// How often it was refused to the customer themselves.
    pub refused_falsely: usize,
}

impl FactorLine {
    fn percent(&self) -> usize { (self.proved * 100).checked_div(self.asked).unwrap_or(0).min(100) }
}

/// Our own grade.
#[derive(Debug, Clone)]
pub struct GradeView {
    /// How many calls are looked at, at most.
    pub most: usize,
    /// The charts.
    pub tallied: Tallied,
    /// The latest calls.
    pub calls: Vec<CallGrade>,
    /// The factors that were asked for.
    pub factors: Vec<FactorLine>,
}

#[derive(Template)]
#[template(path = "grade.html")]
struct GradePage<'a> {
    shell: &'a Shell<'a>,
    view: &'a GradeView,
}

/// Our own grade.
pub fn grade(shell: &Shell<'_>, view: &GradeView) -> Result<String, askama::Error> { GradePage { shell, view }.render() }

/// The class of a verdict's chip.
fn verdict_class(verdict: &Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Good) => "good",
        Some(Verdict::Okay) => "info",
        Some(Verdict::Bad) => "warn",
        Some(Verdict::OhNo) => "bad",
        None => "",
    }
}

/// The verdict in words.
fn verdict(verdict: &Option<Verdict>) -> &'static str {
    use countersign_survey::Choice as _;
    verdict.map_or("not graded", Verdict::words)
}

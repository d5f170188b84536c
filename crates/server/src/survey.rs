//! The lead's page of field notes: what was seen at other contact centers, graded and drawn. Notes are
//! kept sealed, as documents of their own; they have nothing to do with customers.

use axum::{
    Form, Router,
    extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use countersign_core::action::Role;
use countersign_store::{Commit, CommitError, DocWrite, Expect};
use countersign_survey::{Change, Choice, Date, Factor, Identifier, Item, Note, Reached, Standing, Tally, Way, chart, csv, grade, tidy};

use crate::{
    App,
    admin::{shell, who},
    agents::Who,
    grade::svg,
    pages::{self, Flash, FlashKind, NoteForm, NoteLine, Pick, SurveyView, Tallied, When},
    runner::{RunError, newest_first},
    web::WebError,
};

/// The kind under which notes are kept.
const NOTE: &str = "field-note";
/// Most notes that are kept.
const MOST: usize = 5000;
/// How many are listed.
const LISTED: usize = 200;
/// Largest import, as a form writes it: three bytes for what is no letter or digit.
const LARGEST: usize = 2 * 1024 * 1024;
/// How many mistakes of an import are told.
const TOLD: usize = 20;
/// What the charts say these calls are.
const OTHERS: &str = "field notes";

/// The routes of this page.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/admin/survey", get(page))
        .route("/admin/survey", post(add))
        .route("/admin/survey/export.csv", get(export))
        .route("/admin/survey/methods.svg", get(methods))
        .route("/admin/survey/verdicts.svg", get(verdicts))
        .route("/admin/survey/import", post(import))
        .route("/admin/survey/{id}/remove", post(remove))
        .layer(DefaultBodyLimit::max(LARGEST))
}

/// Leads alone: for an administrator there is nothing here either.
async fn lead(app: &App, headers: &HeaderMap) -> Result<Who, WebError> {
    let who = who(app, headers).await?;
    if who.role == Role::Lead { Ok(who) } else { Err(WebError::NotFound) }
}

/// A note with its place in the store.
type Kept = (Vec<u8>, Note);

async fn kept(app: &App) -> Result<Vec<Kept>, WebError> {
    let docs = app.runner.store.docs(NOTE, None, MOST).await?;
    docs.into_iter().map(|(id, doc)| {
        let note = app.runner.vault.unseal(NOTE, &id, &doc.body)?;
        Ok((id, note))
    }).collect()
}

fn tally(kept: &[Kept]) -> Tally { Tally::of(kept.iter().map(|(_, note)| note)) }

/// How the last command went, from our own redirect.
#[derive(serde::Deserialize)]
struct Say {
    #[serde(default)]
    say: String,
    #[serde(default)]
    n: u32,
    #[serde(default)]
    known: u32,
}

impl Say {
    fn flash(&self) -> Option<Flash> {
        let text = match self.say.as_str() {
            "recorded" => "The note is recorded.".to_owned(),
            "removed" => "The note is gone.".to_owned(),
            "imported" => format!("Taken in: {}. There already: {}.", self.n, self.known),
            _ => return None,
        };
        Some(Flash { kind: FlashKind::Good, text })
    }
}

async fn page(State(app): State<App>, headers: HeaderMap, Query(say): Query<Say>) -> Result<Html<String>, WebError> {
    let who = lead(&app, &headers).await?;
    let form = blank(&app)?.form(command(&app)?);
    show(&app, &who, SurveyView { flash: say.flash(), ..view(&app, form).await? })
}

fn command(app: &App) -> Result<String, WebError> { Ok(hex::encode(app.runner.vault.id()?)) }

async fn view(app: &App, form: NoteForm) -> Result<SurveyView, WebError> {
    let kept = kept(app).await?;
    let notes = kept.iter().take(LISTED).map(|(id, note)| line(id, note)).collect();
    Ok(SurveyView { form, notes, tallied: Tallied::new(&tally(&kept), OTHERS, "/admin/survey"), pasted: String::new(), broken: Vec::new(), flash: None })
}

fn line(id: &[u8], note: &Note) -> NoteLine {
    let graded = grade(note);
    let (reasons, others): (Vec<_>, Vec<_>) = graded.reasons.iter().partition(|r| r.rule.verdict() == graded.verdict);
    let texts = |reasons: Vec<&countersign_survey::Reason>| reasons.into_iter().map(|r| r.text.clone()).collect();
    NoteLine {
        id: hex::encode(id), center: note.center.clone(), industry: note.industry.clone(), date: note.date.to_string(), verdict: graded.verdict,
        reasons: texts(reasons), others: texts(others), remarks: note.remarks.clone(),
    }
}

fn show(app: &App, who: &Who, view: SurveyView) -> Result<Html<String>, WebError> { Ok(Html(pages::survey(&shell(app, who), &view)?)) }

// ── A note ─────────────────────────────────────────────────────────────────────────────────────

/// A form as it was sent: the note it makes, and what of it could not be understood.
struct Sent {
    note: Note,
    date: String,
    faults: Vec<String>,
}

fn blank(app: &App) -> Result<Sent, WebError> {
    let now = app.runner.now().to_string();
    let date = now.get(..10).unwrap_or_default().to_owned();
    let note = Note::new("", Date::parse(&date).map_err(|e| WebError::Broken(e.to_string()))?);
    Ok(Sent { note, date, faults: Vec::new() })
}

/// Reads a form. A field that the page does not have is refused.
fn sent(app: &App, fields: Vec<(String, String)>) -> Result<(String, Sent), WebError> {
    let mut command = String::new();
    let mut sent = blank(app)?;
    let note = &mut sent.note;
    for (name, value) in fields {
        match name.as_str() {
            "command" => command = value,
            "center" => note.center = tidy(&value),
            "industry" => note.industry = tidy(&value),
            "remarks" => note.remarks = tidy(&value),
            "date" => sent.date = value,
            "reached" => note.reached = word::<Reached>(&value)?,
            "way" => drop(note.identified_by.insert(word::<Way>(&value)?)),
            "identifier" => drop(note.identifiers.insert(word::<Identifier>(&value)?)),
            "factor" => drop(note.factors.insert(word::<Factor>(&value)?)),
            "asked_number" => note.asked_number = true,
            "offered" => note.offered = true,
            other => match other.split_once('-') {
                Some(("given", what)) if value.is_empty() => drop(word::<Item>(what)?),
                Some(("given", what)) => note.give(word(what)?, word(&value)?),
                Some(("changed", what)) if value.is_empty() => drop(word::<Change>(what)?),
                Some(("changed", what)) => note.change(word(what)?, word(&value)?),
                _ => return Err(unknown()),
            },
        }
    }
    match Date::parse(sent.date.trim()) {
        Ok(date) => sent.note.date = date,
        Err(e) => sent.faults.push(format!("date: {e}")),
    }
    sent.faults.extend(sent.note.faults().iter().map(ToString::to_string));
    if command.len() != 32 || !command.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    Ok((command, sent))
}

fn word<T: Choice>(name: &str) -> Result<T, WebError> { T::parse(name).ok_or_else(unknown) }

fn unknown() -> WebError { WebError::Bad("The form has something that this page does not. Open the page again.".into()) }

impl Sent {
    /// The form with what was sent in it.
    fn form(self, command: String) -> NoteForm {
        fn picks<T: Choice>(on: impl Fn(T) -> bool) -> Vec<Pick> { T::all().iter().map(|w| Pick { name: w.name(), words: w.words(), on: on(*w) }).collect() }
        fn whens<T: Choice>(of: &str, chosen: &std::collections::BTreeMap<T, Standing>) -> Vec<When> {
            T::all().iter().map(|w| When { name: format!("{of}-{}", w.name()), words: w.words(), options: picks(|s| chosen.get(w) == Some(&s)) }).collect()
        }
        let Note { center, industry, date: _, reached, identified_by, identifiers, factors, given, asked_number, offered, changed, remarks } = self.note;
        NoteForm {
            command, center, industry, date: self.date, remarks, reached: picks(|r: Reached| r == reached), ways: picks(|w| identified_by.contains(&w)),
            identifiers: picks(|i| identifiers.contains(&i)), factors: picks(|f| factors.contains(&f)), given: whens("given", &given),
            changed: whens("changed", &changed), asked_number, offered, faults: self.faults,
        }
    }
}

async fn add(State(app): State<App>, headers: HeaderMap, request: Request) -> Result<Response, WebError> {
    let who = lead(&app, &headers).await?;
    let (command, sent) = sent(&app, fields(request).await?)?;
    if !sent.faults.is_empty() {
        let view = view(&app, sent.form(command)).await?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, show(&app, &who, view)?).into_response());
    }
    room(&app, 1).await?;
    write(&app, Some(format!("field-note/{}/{command}", who.id)), &[sent.note]).await?;
    Ok(Redirect::to("/admin/survey?say=recorded").into_response())
}

/// The fields of a form, after it is known who sends it.
async fn fields(request: Request) -> Result<Vec<(String, String)>, WebError> {
    match Form::<Vec<(String, String)>>::from_request(request, &()).await {
        Ok(Form(fields)) => Ok(fields),
        Err(e) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(WebError::Bad("That is too large: at most 2 MiB at once. Divide the file.".into())),
        Err(_) => Err(unknown()),
    }
}

/// Whether so many more may be kept.
async fn room(app: &App, more: usize) -> Result<(), WebError> {
    let there = app.runner.store.docs(NOTE, None, MOST).await?.len();
    if there + more <= MOST { Ok(()) } else { Err(WebError::Bad(format!("{MOST} notes are kept at most, and {there} are there: export them and remove some."))) }
}

/// Writes notes in one transaction. A command that was taken before is not taken again.
async fn write(app: &App, command: Option<String>, notes: &[Note]) -> Result<(), WebError> {
    let (runner, now) = (&app.runner, app.runner.now());
    let mut commit = Commit { now: now.0, command, ..Commit::default() };
    let fresh = runner.vault.id()?;
    for (i, note) in notes.iter().enumerate() {
        // Those of one import stay in their order.
        let mut id = fresh;
        let place = u32::try_from(i).unwrap_or(u32::MAX).to_be_bytes();
        id.iter_mut().zip(place).for_each(|(to, from)| *to = from);
        let id = newest_first(now, id);
        let body = runner.vault.seal(NOTE, &id, note)?;
        commit.docs.push(DocWrite::Put { kind: NOTE, id, expected: Expect::New, body, due: None });
    }
    finish(runner.store.commit(commit).await.map(drop))
}

fn finish(result: Result<(), CommitError>) -> Result<(), WebError> {
    match result {
        Ok(()) | Err(CommitError::Duplicate(_)) => Ok(()),
        Err(CommitError::Busy | CommitError::Closed) => Err(WebError::Busy),
        Err(e) => Err(RunError::Store(e.to_string()).into()),
    }
}

async fn remove(State(app): State<App>, headers: HeaderMap, Path(id): Path<String>) -> Result<Redirect, WebError> {
    lead(&app, &headers).await?;
    let id = hex::decode(&id).map_err(|_| WebError::NotFound)?;
    if app.runner.store.doc(NOTE, &id).await?.is_none() {
        return Err(WebError::NotFound);
    }
    let commit = Commit { now: app.runner.now().0, docs: vec![DocWrite::Delete { kind: NOTE, id }], ..Commit::default() };
    finish(app.runner.store.commit(commit).await.map(drop))?;
    Ok(Redirect::to("/admin/survey?say=removed"))
}

// ── Files and charts ───────────────────────────────────────────────────────────────────────────

/// Takes in what was pasted: all of it, or nothing. What is there already is not taken twice.
async fn import(State(app): State<App>, headers: HeaderMap, request: Request) -> Result<Response, WebError> {
    let who = lead(&app, &headers).await?;
    let fields = fields(request).await?;
    let [(name, pasted)] = fields.as_slice() else { return Err(unknown()) };
    if name != "csv" {
        return Err(unknown());
    }
    let read = match csv::read(pasted) {
        Ok(read) if read.broken.is_empty() => read,
        other => {
            let broken = match other {
                Ok(read) => read.broken,
                Err(broken) => vec![broken],
            };
            let mut told: Vec<String> = broken.iter().take(TOLD).map(ToString::to_string).collect();
            if broken.len() > TOLD {
                told.push(format!("{} more mistakes are not shown.", broken.len() - TOLD));
            }
            let form = blank(&app)?.form(command(&app)?);
            let view = SurveyView { pasted: pasted.clone(), broken: told, ..view(&app, form).await? };
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, show(&app, &who, view)?).into_response());
        }
    };
    let kept = kept(&app).await?;
    let mut known: std::collections::BTreeSet<&Note> = kept.iter().map(|(_, note)| note).collect();
    let notes = read.into_notes();
    let fresh: Vec<Note> = notes.iter().filter(|note| known.insert(note)).cloned().collect();
    room(&app, fresh.len()).await?;
    if !fresh.is_empty() {
        write(&app, None, &fresh).await?;
    }
    Ok(Redirect::to(&format!("/admin/survey?say=imported&n={}&known={}", fresh.len(), notes.len() - fresh.len())).into_response())
}

async fn export(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    lead(&app, &headers).await?;
    let kept = kept(&app).await?;
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, "attachment; filename=\"field-notes.csv\"")];
    Ok((headers, csv::write(kept.iter().map(|(_, note)| note))).into_response())
}

async fn methods(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    lead(&app, &headers).await?;
    Ok(svg(chart::methods(&tally(&kept(&app).await?), OTHERS)))
}

async fn verdicts(State(app): State<App>, headers: HeaderMap) -> Result<Response, WebError> {
    lead(&app, &headers).await?;
    Ok(svg(chart::verdicts(&tally(&kept(&app).await?), OTHERS)))
}

//! Somebody who is signed in to the portal: the customer, or a thief of their session.

use crate::{
    Halt,
    people::Who,
    stage::Stage,
    wire::{Ask, Page},
};

/// A session in the portal.
#[derive(Clone)]
pub struct Portal {
    stage: Stage,
    /// `cs_me=…`.
    pub cookie: String,
}

impl Portal {
    /// Comes from the company's own signed-in site.
    pub async fn enter(stage: &Stage, who: Who) -> Result<Self, Halt> { Ok(Self { stage: stage.clone(), cookie: stage.enter_portal(who).await? }) }

    /// Opens a page.
    pub async fn get(&self, path: &str) -> Result<Page, Halt> { Ask::get(path).with("cookie", &self.cookie).send(self.stage.router()).await }

    /// Sends a form.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Page, Halt> {
        Ask::post(path, fields).with("cookie", &self.cookie).send(self.stage.router()).await
    }

    /// The request for approval that the page shows, if it shows one.
    pub async fn asked(&self) -> Result<Option<String>, Halt> {
        let page = self.get("/me/live").await?;
        Ok(page.after("action=\"/me/approvals/").and_then(|rest| rest.split('/').next()).map(str::to_owned))
    }

    /// Answers a request: `type`, `decline` or `not-me`. What came of it, in a word.
    pub async fn answer(&self, challenge: &str, how: &str, code: &str) -> Result<String, Halt> {
        let page = self.post(&format!("/me/approvals/{challenge}/{how}"), &[("code", code)]).await?;
        Ok(page.header("location").strip_prefix("/me?done=").unwrap_or("nothing").to_owned())
    }

    /// Types a code that was given on a call, and says that the call is theirs.
    pub async fn links(&self, code: &str) -> Result<Page, Halt> {
        let page = self.post("/me/code", &[("code", code)]).await?;
        if page.status != 200 {
            return Ok(page);
        }
        self.post("/me/code/confirm", &[("code", code), ("answer", "yes")]).await
    }

    /// Confirms with something typed. What came of it, in a word.
    pub async fn confirm(&self, kind: &str, entry: &str) -> Result<String, Halt> {
        let page = self.post("/me/security/confirm", &[("kind", kind), ("entry", entry)]).await?;
        Ok(page.header("location").strip_prefix("/me/security?say=").unwrap_or("nothing").to_owned())
    }

    /// The service code on the page.
    pub async fn code(&self) -> Result<Option<String>, Halt> {
        let page = self.get("/me/service-code").await?;
        let shown = page.after("Your code for the phone: </span>").and_then(|rest| rest.split('<').next());
        Ok(shown.map(|text| text.chars().filter(char::is_ascii_digit).collect()))
    }
}

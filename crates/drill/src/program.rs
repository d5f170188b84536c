//! A program of the company that has the caller on its own line, and asks by OpenID (CIBA).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    Halt,
    setting::Door,
    stage::{PROGRAM_SECRET, Stage},
    wire::{Ask, Page},
};

/// The grant of OpenID CIBA.
const CIBA: &str = "urn:openid:params:grant-type:ciba";

/// A program.
#[derive(Clone)]
pub struct Program {
    stage: Stage,
    id: String,
}

impl Program {
    /// The first that may ask.
    pub fn of(stage: &Stage) -> Result<Self, Halt> {
        let settings = stage.setting().asking().ok_or_else(|| Halt::NotApplicable(Door::Programs.missing().into()))?;
        Ok(Self { stage: stage.clone(), id: settings.id.clone() })
    }

    /// A request with the program's secret.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Page, Halt> {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{PROGRAM_SECRET}", self.id)));
        Ask::post(path, fields).with("authorization", &basic).send(self.stage.router()).await
    }

    /// Asks the holder of an account to prove who they are; the request's secret name, if it was taken.
    pub async fn ask(&self, account_number: &str) -> Result<(Page, Option<String>), Halt> {
        let page = self.post("/oauth/bc-authorize", &[("scope", "openid"), ("login_hint", account_number)]).await?;
        let name = page.value().get("auth_req_id").and_then(|v| v.as_str()).map(str::to_owned);
        Ok((page, name))
    }

    /// Asks for the token of a request: whether it got one.
    pub async fn token(&self, name: &str) -> Result<bool, Halt> {
        let page = self.post("/oauth/token", &[("grant_type", CIBA), ("auth_req_id", name)]).await?;
        Ok(page.value().get("access_token").is_some())
    }
}

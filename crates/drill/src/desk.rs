//! Somebody at the desk: a cookie, forms that are sent, pages that are read.

use countersign_core::{action::{Field, Role}, id::{AgentId, CallId}};

use crate::{
    Halt,
    caller::Caller,
    stage::Stage,
    wire::{Ask, Page, between},
};

/// Somebody at the desk, signed in.
#[derive(Clone)]
pub struct Desk {
    stage: Stage,
    /// Their name.
    pub name: String,
    /// As what.
    pub role: Role,
    id: AgentId,
    /// `cs_desk=…`.
    pub cookie: String,
    /// The call they look at.
    pub call: CallId,
}

impl Desk {
    /// Through the sign-in page, as everybody.
    pub async fn sign_in(stage: &Stage, name: &str, role: Role) -> Result<Self, Halt> {
        let (id, cookie) = stage.sign_in(name, role).await?;
        Ok(Self { stage: stage.clone(), name: name.into(), role, id, cookie, call: CallId([0; 16]) })
    }

    /// The same without a session.
    pub fn signed_out(&self) -> Self { Self { cookie: String::new(), ..self.clone() } }

    /// Opens a page.
    pub async fn get(&self, path: &str) -> Result<Page, Halt> { Ask::get(path).with("cookie", &self.cookie).send(self.stage.router()).await }

    /// Sends a form.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Page, Halt> {
        Ask::post(path, fields).with("cookie", &self.cookie).with("hx-request", "true").send(self.stage.router()).await
    }

    /// One command for the call they look at.
    pub async fn act(&self, verb: &str, fields: &[(&str, &str)]) -> Result<Page, Halt> { self.post(&format!("/desk/call/{}/{verb}", self.call), fields).await }

    /// The call's panel.
    pub async fn panel(&self) -> Result<Page, Halt> { self.get(&format!("/desk/call/{}/panel", self.call)).await }

    /// Takes a call; the caller is put through. Whether it worked.
    pub async fn take(&mut self, caller: &mut Caller) -> Result<bool, Halt> {
        self.call = caller.id;
        self.act("accept", &[]).await?;
        let mine = self.stage.call(caller.id).await?.and_then(|call| call.agent).is_some_and(|(agent, _)| agent == self.id);
        if mine {
            caller.listen().await?;
        }
        Ok(mine)
    }

    /// Notes what the caller says; with an account open it is compared.
    pub async fn heard(&self, what: &str, value: &str) -> Result<Page, Halt> { self.act("heard", &[("what", what), ("value", value)]).await }
    /// Looks at a field.
    pub async fn reveal(&self, field: Field) -> Result<Page, Halt> { self.act("reveal", &[("field", field.name())]).await }
    /// Asks policy about an action, on record.
    pub async fn request(&self, action: &str) -> Result<Page, Halt> { self.act("request", &[("action", action)]).await }
    /// Asks the caller to prove.
    pub async fn prove(&self, factors: &str, action: &str) -> Result<Page, Halt> { self.act("prove", &[("factors", factors), ("action", action)]).await }
    /// Types the word that the caller said.
    pub async fn word(&self, word: &str) -> Result<Page, Halt> { self.act("word", &[("word", word)]).await }
    /// Ends the call.
    pub async fn end(&self) -> Result<Page, Halt> { self.act("end", &[]).await }

    /// Carries something out, with values that make it a change.
    pub async fn perform(&self, action: &str, value: &str) -> Result<Page, Halt> {
        let fields: &[(&str, &str)] = match action {
            "change:phone" | "change:email" => &[("value", value)],
            "change:address" => &[("address", value), ("postal_code", "10001")],
            "change:factors" => &[("kind", "pin"), ("value", value)],
            _ => &[],
        };
        self.act("perform", &[&[("action", action)], fields].concat()).await
    }

    /// Tries everything that changes an account or cannot be taken back, without and with a written
    /// reason.
    pub async fn tries_everything(&self) -> Result<Vec<Page>, Halt> {
        let mut pages = Vec::new();
        for (action, value) in EVERYTHING {
            pages.push(self.perform(action, value).await?);
            let fields = [("action", action), ("value", value), ("address", value), ("postal_code", "10001"), ("kind", "pin"), ("reason", "the caller is in a great hurry")];
            pages.push(self.act("perform", &fields).await?);
        }
        Ok(pages)
    }

    /// Looks at every field, and at the panel once more when all were asked for.
    pub async fn looks_at_everything(&self) -> Result<Vec<Page>, Halt> {
        let mut pages = Vec::new();
        for field in Field::ALL {
            pages.push(self.reveal(field).await?);
        }
        pages.push(self.panel().await?);
        Ok(pages)
    }
}

/// What an attacker wants done, with what they would have in its place.
pub const EVERYTHING: [(&str, &str); 9] = [
    ("change:phone", crate::people::NEW_NUMBER), ("change:email", "thief@example.com"), ("change:address", "1 Elsewhere Street"), ("change:password", ""),
    ("change:factors", "8027"), ("do:cancel_order", ""), ("do:request_refund", ""), ("do:redirect_parcel", ""), ("do:close_account", ""),
];

/// The fields that a panel marks as "may be said".
pub fn speakable(page: &Page) -> Vec<String> {
    let rows = page.body.split("<tr class=").skip(1).filter(|row| row.split("</tr>").next().unwrap_or_default().contains("may be said"));
    rows.filter_map(|row| between(row, "<th scope=\"row\">", "</th>")).map(str::to_owned).collect()
}

//! Guesses. Where a secret is among them, the question is whether it was looked at at all.

use countersign_core::{action::{Level, Role}, call::Event, factor::FactorKind};

use crate::{
    Door, Drill, Halt,
    caller::{Signed, post, signature},
    desk::Desk,
    people::{STRANGER, Who, liam_app, totp},
    scene::Scene,
};

/// RTS (EU) 2018/389 Art. 4(3)(b): at most five wrong entries in a row.
const IN_A_ROW: usize = 5;

/// See the story.
pub(super) const VERBAL_PASSWORD_GUESSING: Drill = Drill {
    name: "verbal_password_guessing",
    story: "Somebody who knows Liam well guesses his verbal password, over several calls from one line; the eighth word is right.",
    expects: "Few words on a challenge and few from one line in a quarter of an hour: the eighth is not looked at.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(words(s)),
};

async fn words(s: &mut Scene) -> Result<(), Halt> {
    let mut list = ["harbour", "portville", "fluffy", "summer holiday", "grandmother", "blue elephant", "purple unicorn"].map(str::to_owned).to_vec();
    list.push(Who::Liam.word().unwrap_or_default().to_owned());
    let mut used = 0;
    let mut robin = Desk::sign_in(&s.stage, "Robin", Role::Agent).await?;
    let mut sam = Desk::sign_in(&s.stage, "Sam", Role::Specialist).await?;
    for _ in 0..4 {
        let mut caller = s.call(Who::Liam.line(), Signed::Not).await?;
        s.to_the_queue(&mut caller).await?;
        let desk = if robin.take(&mut caller).await? {
            &robin
        } else if sam.take(&mut caller).await? {
            &sam
        } else {
            break;
        };
        s.does("Says one word after the other.").await?;
        // A challenge that is used up is asked for again.
        for _ in 0..3 {
            desk.prove("verbal_password", "").await?;
            while open(s, caller.id, FactorKind::VerbalPassword).await? {
                let Some(word) = list.get(used) else { break };
                let before = judged(s, caller.id).await?;
                desk.word(word).await?;
                // One that was not looked at is good for another call.
                used += judged(s, caller.id).await? - before;
            }
        }
        s.reached(caller.id, Level::Identified).await?;
        desk.end().await?;
    }
    s.sees(format!("{used} of {} words were looked at.", list.len()));
    match used {
        0 => Err(Halt::NotApplicable("no verbal password can be asked for under these policies".into())),
        _ => Ok(()),
    }
}

/// How many entries were looked at on a call.
async fn judged(s: &Scene, call: countersign_core::id::CallId) -> Result<usize, Halt> {
    let events = s.stage.events(call).await?;
    Ok(events.iter().filter(|r| matches!(r.event, Event::ChallengeFailed { .. } | Event::Proved { .. })).count())
}

async fn open(s: &Scene, call: countersign_core::id::CallId, kind: FactorKind) -> Result<bool, Halt> {
    Ok(s.stage.call(call).await?.and_then(|call| call.challenge).is_some_and(|c| c.kind == kind))
}

/// See the story.
pub(super) const THOUSAND_GUESSES: Drill = Drill {
    name: "thousand_guesses",
    story: "A thousand codes for one challenge arrive at the same time.",
    expects: "Exactly as many are looked at as the configuration allows, and never more than five in a row.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(thousand(s)),
};

async fn thousand(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Who::Liam.line(), Signed::Full).await?;
    s.to_the_queue(&mut caller).await?;
    let desk = s.answered(&mut caller).await?;
    desk.prove("totp", "").await?;
    if !open(s, caller.id, FactorKind::Totp).await? {
        return Err(Halt::NotApplicable("policy does not let an authenticator app be asked for".into()));
    }
    s.follow(caller.id).await?;
    s.does("Keys a thousand different codes at once, none of them right.").await?;
    let now = s.stage.now();
    let right: Vec<String> = [-30, 0, 30].map(|d| totp(&liam_app(), now + countersign_core::time::Span::seconds(d))).into();
    let first: u32 = s.dice.digits(6).expose().parse().unwrap_or(0);
    let codes = (0..).map(|n: u32| format!("{:06}", first.wrapping_add(n * 7) % 1_000_000)).filter(|code| !right.contains(code)).take(1000);
    let mut flights = Vec::with_capacity(1000);
    for (n, code) in codes.enumerate() {
        let (stage, path) = (s.stage.clone(), format!("/twilio/step?n={}", 10_000 + n));
        let fields = caller.fields(&[("Digits", &code)]);
        flights.push(tokio::spawn(async move { post(&stage, &path, &fields, &signature(&path, &fields)).await }));
    }
    for flight in flights {
        flight.await.map_err(|e| Halt::broken("a guess", e))??;
    }
    let judged = judged(s, caller.id).await?;
    s.sees(format!("{judged} of 1000 codes were looked at."));
    let params = &s.stage.setting().params;
    let allowed = usize::try_from(params.throttle.min(params.lifetime_failures)).unwrap_or(usize::MAX).min(usize::from(params.tries.clamp(1, 5)));
    if judged == 0 {
        return Err(Halt::broken("the guesses", "none of them arrived"));
    }
    if judged > allowed || judged > IN_A_ROW {
        s.got(format!("{judged} of 1000 guesses at one code were looked at"));
    }
    s.reached(caller.id, Level::Identified).await?;
    Ok(())
}

/// See the story.
pub(super) const HYBRID_CODE_GUESSING: Drill = Drill {
    name: "hybrid_code_guessing",
    story: "A customer’s call waits for its code to be typed in the portal; somebody signed in as Tina types codes until one fits. Then a stranger on the phone keys codes that the portal could be showing. The eighth guess is right each time.",
    expects: "Few codes typed by one account and few keyed from one line: then not even the right one is looked at.",
    needs: &[Door::Telephone, Door::Portal],
    play: |s| Box::pin(hybrid(s)),
};

/// Guesses before the right one.
const WRONG: u64 = 7;

async fn hybrid(s: &mut Scene) -> Result<(), Halt> {
    let tina = s.portal(Who::Tina).await?;
    let mut call = s.call(Some(STRANGER), Signed::Full).await?;
    call.presses(&["1", "3"]).await?;
    s.follow(call.id).await?;
    let code = call.spoken(8).ok_or_else(|| Halt::broken("the machine", "no code was read out"))?;
    s.does("Somebody signed in as Tina types seven wrong codes, and then the right one.").await?;
    for n in 1..=WRONG {
        tina.post("/me/code", &[("code", &near(&code, n))]).await?;
    }
    tina.links(&code).await?;
    if s.reached(call.id, Level::Anonymous).await? == Level::Anonymous {
        s.stop("limit calls.typed_codes: no more codes from this account");
    }
    call.hang_up().await?;

    let ana = s.portal(Who::Ana).await?;
    let line = "+12025550171";
    s.does("A stranger keys seven wrong service codes on as many calls, and then the one that Ana’s portal shows.").await?;
    for n in 1..=WRONG + 1 {
        let code = ana.code().await?.ok_or_else(|| Halt::broken("the portal", "it shows no service code"))?;
        let mut call = s.call(Some(line), Signed::Full).await?;
        call.presses(&["1", "1"]).await?;
        call.press(&if n > WRONG { code } else { near(&code, n) }).await?;
        s.reached(call.id, Level::Anonymous).await?;
        call.hang_up().await?;
    }
    Ok(())
}

/// Another code of the same length.
fn near(code: &str, by: u64) -> String {
    let modulus = 10_u64.pow(u32::try_from(code.len()).unwrap_or(8));
    format!("{:0width$}", (code.parse::<u64>().unwrap_or(0) + by) % modulus, width = code.len())
}

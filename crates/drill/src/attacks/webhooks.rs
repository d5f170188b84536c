//! The telephone's own door: webhooks that somebody else sends.

use countersign_core::{action::Level, call::Event};

use crate::{
    Door, Drill, Halt,
    caller::{Caller, Fields, Signed, post, signature},
    people::Who,
    scene::{PRIVATE, Scene},
    stage::URL,
    wire::unescape,
};

/// See the story.
pub(super) const REPLAYED_WEBHOOK: Drill = Drill {
    name: "replayed_webhook",
    story: "Somebody captured every webhook of a call in which Ana keyed her PIN, signatures and all, and sends them again: during the call, after it, and under the name of a call of their own.",
    expects: "The call and its step name the command: the stored answer is given again and nothing happens. A signature holds for one address and its fields.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(replayed(s)),
};

async fn replayed(s: &mut Scene) -> Result<(), Halt> {
    let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
    let mut tape = vec![(caller.last.clone(), caller.twiml.clone())];
    for keys in ["2", Who::Ana.pin().unwrap_or_default(), "1"] {
        caller.press(keys).await?;
        tape.push((caller.last.clone(), caller.twiml.clone()));
    }
    s.follow(caller.id).await?;
    for when in ["while the call waits", "after it is over"] {
        let before = s.stage.events(caller.id).await?.len();
        s.does(format!("Sends {} captured webhooks three times, {when}.", tape.len())).await?;
        for _ in 0..3 {
            for ((path, fields), heard) in &tape {
                let page = post(&s.stage, path, fields, &signature(path, fields)).await?;
                if page.status == 200 && page.body != *heard {
                    s.got("a replay is answered with something new");
                }
            }
        }
        if s.stage.events(caller.id).await?.len() == before {
            s.stop("command ids: a webhook that was taken before gets its stored answer");
        } else {
            s.got("a replay moved the call");
        }
        caller.hang_up().await?;
        s.follow(caller.id).await?;
    }
    s.does("Sends the webhook with the PIN under the name of a call of their own, with the captured signature.").await?;
    let thief = Caller::new(&s.stage, Who::Ana.line(), Signed::Full);
    for ((path, fields), _) in &tape {
        let signed = signature(path, fields);
        let mut moved = fields.clone();
        moved.iter_mut().filter(|(name, _)| name == "CallSid").for_each(|(_, value)| thief.fields(&[]).iter().filter(|(n, _)| n == "CallSid").for_each(|(_, sid)| value.clone_from(sid)));
        let page = post(&s.stage, path, &moved, &signed).await?;
        if page.status == 200 {
            s.got("a captured signature holds for another call");
        }
    }
    s.reached(thief.id, Level::Anonymous).await?;
    Ok(())
}

/// See the story.
pub(super) const FORGED_WEBHOOK: Drill = Drill {
    name: "forged_webhook",
    story: "Somebody sends webhooks without Twilio: with no signature, with one of their own key, with one for other fields or another address, with a field twice.",
    expects: "Nothing is acted on that is not signed with the account’s token for exactly this address and these fields.",
    needs: &[Door::Telephone],
    play: |s| Box::pin(forged(s)),
};

async fn forged(s: &mut Scene) -> Result<(), Halt> {
    let path = "/twilio/voice";
    let (mut tried, mut refused) = (0, 0);
    let forge = |fields: &Fields| -> Vec<(&'static str, Fields, String)> {
        let own = countersign_server::telephony::twilio::signature::sign(&"a token of the forger".into(), &format!("{URL}{path}"), fields);
        let mut other = fields.clone();
        other.push(("Extra".into(), "1".into()));
        let twice: Fields = fields.iter().cloned().chain([("CallStatus".to_owned(), "ringing".to_owned())]).collect();
        vec![
            ("no signature", fields.clone(), String::new()), ("a signature of nothing", fields.clone(), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()),
            ("a signature by another key", fields.clone(), own), ("a field more than was signed", other, signature(path, fields)),
            ("a signature for another address", fields.clone(), signature("/twilio/status", fields)), ("a signed field twice", twice.clone(), signature(path, &twice)),
        ]
    };
    for n in 0..6 {
        let caller = Caller::new(&s.stage, Who::Ana.line(), Signed::Full);
        let Some((how, fields, signed)) = forge(&caller.fields(&[])).into_iter().nth(n) else { continue };
        s.does(format!("Says that Ana calls, with {how}.")).await?;
        let page = post(&s.stage, path, &fields, &signed).await?;
        tried += 1;
        refused += usize::from(page.status != 200);
        s.sees(format!("Answered {}.", page.status));
        if !s.stage.events(caller.id).await?.is_empty() {
            s.got(format!("a call began, with {how}"));
        }
        s.shown(&page, Who::Ana, &PRIVATE);
    }
    s.does("Keys Ana’s PIN into her own call, without a signature.").await?;
    let mut caller = s.call(Who::Ana.line(), Signed::Full).await?;
    caller.press("2").await?;
    let step = caller.action().map(|path| unescape(&path)).unwrap_or_default();
    let fields = caller.fields(&[("Digits", Who::Ana.pin().unwrap_or_default())]);
    let page = post(&s.stage, &step, &fields, "").await?;
    tried += 1;
    refused += usize::from(page.status != 200);
    if s.stage.events(caller.id).await?.iter().any(|r| matches!(r.event, Event::Proved { .. })) {
        s.got("an unsigned webhook proved something");
    }
    s.reached(caller.id, Level::Identified).await?;
    if refused == tried {
        s.stop(format!("the signature and the form: {refused} of {tried} were turned away before anything was looked at"));
    } else {
        s.got(format!("{} forged webhooks were taken", tried - refused));
    }
    Ok(())
}

//! More proof at the moment when it is needed.

use countersign_core::{action::Role, time::Span};
use countersign_server::outbox::provider::Channel;

use crate::common::{World, hides, people::*};

const NEW: &str = "+12025550150";

async fn amex(world: World) {
    let (mut robin, mut sam) = (world.robin().await, world.sam().await);
    let mut ola = world.agent("Ola", Role::Agent).await;
    let mut call = world.call(ANA_LINE).await;
    call.press("1").await.hears("Please enter your PIN.").press("4071").await.hears("Thank you, that was accepted.");
    call.press("2").await.plays("lively");

    let page = robin.take(&mut call).await;
    assert_eq!(page.level(), "authenticated");
    page.hides(&ANA_PRIVATE).shows(r#"id="plan-change-phone-1" name="factors" value="sms_code""#);
    // Not yet, whatever is posted.
    robin.change_phone(NEW).await.says("Not permitted now");
    robin.request("change:phone").await.says("Needs strong: ask for a proof.");
    assert!(world.deliver().await.is_empty());

    // At this moment a code is texted, and the text says why.
    let page = robin.prove("sms_code", "change:phone").await;
    page.shows("You hear nothing; stay on the line.").shows("3 tries left.");
    call.listen().await
        .hears("Your agent is staying on the line. To change the phone number on your account, we need to check it is you.")
        .hears("The agent cannot hear your keys.")
        .hears("We have just texted a code to the mobile number on file.");
    let letter = world.letter().await;
    letter.went_to(Channel::Sms, ANA_LINE).reads("You are on the phone with Juniper & Co now to change your phone.")
        .reads("We never ask you to say it.").reads("Not you? Call +1 202 555 0100");
    let code = letter.code();

    // Robin stays reserved for this call and sees no digit of it.
    robin.panel().await.shows("Sent to the number on file.").hides(&[&code]).hides(&ANA_PRIVATE);
    ola.call = call.id;
    ola.act("accept", &[]).await.ok();
    assert!(!world.tells(call.id, "Ola").await);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    call.press(wrong).await.hears("That was not accepted. Please try again.");
    robin.panel().await.shows("2 tries left.").hides(&[wrong, &code]);
    call.press(&code).await.hears("Thank you, that was accepted.").hears("You are going back to your agent now.").is_bridged();
    let page = robin.panel().await;
    assert_eq!(page.level(), "strong");
    page.hides(&[&code]);

    // To the specialist with everything: nobody has to prove anything twice.
    let page = robin.hand_over("specialists").await;
    assert_eq!(page.header("hx-redirect"), "/desk", "Robin does not have it any more");
    robin.panel().await.is(404);
    call.listen().await.hears("A specialist will be with you soon. You will not have to repeat anything you entered.").plays("lively");
    let page = sam.take(&mut call).await;
    assert_eq!(page.level(), "strong");
    page.hides(&ANA_PRIVATE).shows("PIN").shows("texted code");
    sam.change_phone(NEW).await.says("Done. The customer is told at the contact that was on file.");

    let told = world.deliver().await;
    let mut places: Vec<(Channel, &str)> = told.iter().map(|l| (l.channel, l.to.as_str())).collect();
    places.sort_by_key(|(_, to)| to.to_owned());
    assert_eq!(places, [(Channel::Sms, ANA_LINE), (Channel::Email, ANA_MAIL)]);
    for letter in &told {
        letter.reads("The phone number on your account was changed");
        hides(&letter.text, &[NEW, "2025550150", ANA_LINE, "Ana"]);
        assert!(letter.link().starts_with("/undo/"));
    }
    sam.end().await.ok();
    call.listen().await.hears("Thank you for calling Juniper & Co. Goodbye.").is_cut();
    // The summary goes to the contact that counts, and to the one that was just replaced.
    let summaries = world.deliver().await;
    let mut places: Vec<&str> = summaries.iter().map(|l| l.to.as_str()).collect();
    places.sort();
    assert_eq!(places, [ANA_LINE, ANA_MAIL]);
    for letter in &summaries {
        letter.reads("The phone number on your account was changed").reads("This wasn't you?");
    }

    for sentence in [
        "Asked for texted code for change:phone", "Wrong entry; 2 left.", "Proved: texted code.", "handed the call to a specialist with everything it carries.",
        "carried out change:phone", "The agent ended the call.",
    ] {
        assert!(world.tells(call.id, sentence).await, "{sentence}: {:#?}", world.story(call.id).await);
    }
    assert!(world.ground.post.all().iter().all(|l| l.to != NEW), "nothing goes to the new number");
    hides(&world.log().await, &[&code, "4071", NEW, "2025550150"]);
}

#[tokio::test]
async fn amex_step_up() { amex(World::new().await).await; }

#[tokio::test]
async fn amex_step_up_in_a_file() { amex(World::in_file().await).await; }

#[tokio::test]
async fn amazon_honours_totp() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    // By itself, the machine asks for the app.
    let mut call = world.call(LIAM_LINE).await;
    call.hears("We know the number you are calling from.").hears("Please enter the code from your authenticator app.");
    // Another way is not a weaker one: no text, no call, but the portal.
    call.press("*").await.hears("Please enter the code for the phone.");
    call.press("0").await.press("1").await;
    let page = robin.take(&mut call).await;
    page.shows(r#"id="prove-totp""#).lacks(r#"id="prove-sms_code""#).lacks(r#"id="prove-voice_code""#).lacks("sms_code");
    // Nor by a form that no page offers.
    for factor in ["sms_code", "voice_code", "totp,sms_code"] {
        robin.prove(factor, "change:phone").await.says("this factor cannot be used on this call");
    }
    assert!(world.deliver().await.is_empty());
    robin.prove("totp", "").await.ok();
    call.listen().await.hears("Please enter the code from your authenticator app.");
    call.press(&liam_code(world.now())).await.hears("You are going back to your agent now.");
    assert_eq!(robin.panel().await.level(), "authenticated");
    robin.prove("sms_code", "change:phone").await.says("this factor cannot be used on this call");
    assert!(world.deliver().await.is_empty());

    // And first on the next call, too: the code in hand is spent, the next one counts.
    let mut call = world.call(LIAM_LINE).await;
    call.press(&liam_code(world.now())).await.hears("That was not accepted. Please try again.");
    world.pass(Span::seconds(30));
    call.press(&liam_code(world.now())).await.hears("Thank you, that was accepted.");
}

#[tokio::test]
async fn verbal_password() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(LIAM_LINE).await;
    call.press("0").await.press("1").await;
    robin.take(&mut call).await;
    let words = ["rhinoceros", "Rhinoceros", "RHINOCEROS", "unicorn", "purple", "Purple"];
    robin.prove("verbal_password", "").await.shows("Word the caller says").shows("3 tries left.");
    // The caller says it: the line stays with the agent.
    call.listen().await.is_bridged();
    let page = robin.word("purple unicorn").await;
    page.says("No match.").shows("2 tries left.").hides(&words);
    assert_eq!(page.level(), "identified");
    let page = robin.word("  Purple   RHINOCEROS ").await;
    page.says("Match.").hides(&words);
    assert_eq!(page.level(), "authenticated");
    robin.page().await.hides(&words);
    assert!(world.tells(call.id, "Proved: verbal password.").await);
    // Together with the app it is two kinds.
    robin.prove("totp", "change:phone").await.ok();
    call.listen().await;
    call.press(&liam_code(world.now())).await;
    assert_eq!(robin.panel().await.level(), "strong");
    hides(&world.log().await, &words);
    hides(&world.metrics().await, &words);

    // Three wrong ones, and it is over with this factor; nothing tells how near they were.
    let mut call = world.call(LIAM_LINE).await;
    call.press("0").await.press("1").await;
    let mut ola = world.agent("Ola", Role::Agent).await;
    ola.take(&mut call).await;
    ola.prove("verbal_password", "").await.ok();
    for word in ["purple rhinocero", "x", "purple rhinoceros!!"] {
        // The last one is spelled with signs that nobody says: it is the word itself.
        let page = ola.word(word).await;
        page.hides(&words);
        assert_eq!(page.flash() == "Match.", word.ends_with("!!"));
    }
}

//! The same call in Spanish and in German.

use countersign_server::outbox::provider::Channel;

use crate::common::{World, people::*, phone::Phone};

/// Everything said last was said in this language.
#[track_caller]
fn all_in(call: &Phone, tag: &str) {
    assert!(!call.said().is_empty());
    for (lang, text) in call.said() {
        assert_eq!(lang, tag, "{text}");
    }
}

#[tokio::test]
async fn a_call_in_spanish() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    // The language on file is spoken at once.
    let mut call = world.call(SOFIA_LINE).await;
    all_in(&call, "es-ES");
    call.hears("Marque su PIN.").press("1").await.hears("No se ha aceptado. Inténtelo de nuevo, por favor.");
    all_in(&call, "es-ES");
    call.press("5093").await.hears("Gracias, se ha aceptado.").hears("Elija lo que quiere escuchar mientras espera.");
    call.press("3").await.hears("Un agente le atenderá pronto.").plays("classical");
    robin.take(&mut call).await.shows("Spanish").shows(r#"lang="es""#);
    robin.prove("sms_code", "change:phone").await.ok();
    call.listen().await.hears("Su agente sigue en la línea. Para cambiar el número de teléfono de su cuenta, necesitamos comprobar que es usted.");
    all_in(&call, "es-ES");
    let letter = world.letter().await;
    // In the alphabet of text messages, so that it stays one message.
    letter.went_to(Channel::Sms, SOFIA_LINE).reads("Usted habla ahora con Juniper & Co para").reads("Nunca pedimos que lo diga.").reads("+1 202 555 0100");
    assert_eq!(countersign_server::i18n::segments(&letter.text), 1, "{}", letter.text);
    call.press(&letter.code()).await.hears("Ahora vuelve con su agente.");
    robin.change_phone("+12025550150").await.says("Done.");
    let told = world.deliver().await;
    assert!(told.iter().all(|l| l.lang.code() == "es"));
    told.iter().find(|l| l.to.contains('@')).unwrap().reads("Se ha cambiado el número de teléfono de su cuenta");
    call.hang_up().await;
    let summaries = world.deliver().await;
    assert!(summaries.iter().any(|l| l.to == "sofia.ruiz@example.com") && summaries.iter().all(|l| l.lang.code() == "es"));
}

#[tokio::test]
async fn a_call_in_german() {
    let world = World::new().await;
    let mut robin = world.robin().await;
    let mut call = world.call(JONAS_LINE).await;
    all_in(&call, "de-DE");
    call.hears("Dienstag, 2. Juni");
    call.press("1").await.hears("Wir haben gerade einen Code an die hinterlegte Mobilnummer gesendet.");
    let letter = world.letter().await;
    letter.went_to(Channel::Sms, JONAS_LINE).reads("Sie telefonieren gerade mit Juniper & Co.").reads("Betrug melden: +1 202 555 0100");
    assert_eq!(countersign_server::i18n::segments(&letter.text), 1, "{}", letter.text);
    call.press(&letter.code()).await.hears("Vielen Dank, das wurde angenommen.");
    call.press("1").await.hears("Die Kundenberatung ist bald für Sie da.");
    all_in(&call, "de-DE");
    robin.take(&mut call).await.shows("German").shows(r#"lang="de""#);
    robin.end().await.ok();
    call.listen().await.hears("Vielen Dank für Ihren Anruf bei Juniper & Co. Auf Wiederhören.").is_cut();
}

/// Nobody on file: each language offers itself in itself, and the choice holds.
#[tokio::test]
async fn a_stranger_chooses_a_language() {
    let world = World::new().await;
    for (key, tag, words) in [("1", "en-US", "To speak to an agent, press 0."), ("2", "es-ES", "agente"), ("3", "de-DE", "Kundenberatung")] {
        let mut call = world.call(STRANGER).await;
        let offered: Vec<String> = call.said().into_iter().skip(1).map(|(lang, _)| lang).collect();
        assert_eq!(offered, ["en-US", "es-ES", "de-DE"]);
        call.press(key).await.hears(words);
        all_in(&call, tag);
        // Star: another one after all.
        call.press("*").await;
        assert_eq!(call.said().len(), 3);
        call.press(key).await.press("0").await.press("1").await;
        all_in(&call, tag);
    }
    // Nobody chooses: English.
    let mut call = world.call(STRANGER).await;
    call.silent().await.hears("To enter your account number, press 2.");
    all_in(&call, "en-US");
}

/// A code that is read out, digit by digit, to a landline.
#[tokio::test]
async fn a_code_is_read_out_to_a_landline() {
    let world = World::new().await;
    let mut call = world.call(CHIDI_LINE).await;
    call.presses(&["1"]).await;
    // Possession is asked before knowledge when the customer chose nothing.
    call.hears("We are ringing the number on file to give you a code.");
    let letter = world.letter().await;
    letter.went_to(Channel::Voice, CHIDI_LINE).reads("Hello, this is Juniper & Co. You are on the phone with us now to prove it is you.");
    let code = letter.code();
    letter.reads(&code.chars().map(String::from).collect::<Vec<_>>().join(", "));
    call.press(&code).await.hears("Thank you, that was accepted.");
}

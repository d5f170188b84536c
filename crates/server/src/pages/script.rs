//! What the agent may read aloud now, in the caller's language. Chosen from the state of the call
//! alone; no line has a place for a value, so none can give one away.

use countersign_core::{
    action::Level,
    call::{Closed, Queue, Stage},
    factor::FactorKind,
    prompt::Lang,
    view::{AgentView, Offer},
};

/// One line and, for the agent alone, why it is the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// To be read aloud.
    pub line: Line,
    /// Not to be read aloud.
    pub hint: &'static str,
}

/// A situation that has words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Nothing is known yet.
    AccountNumber,
    /// Something is known, no account.
    AnotherDetail,
    /// One detail fits; two must.
    SecondDetail,
    /// Before going on: a proof of this kind.
    Proof(FactorKind),
    /// There is no way to prove anything.
    NoFactor,
    /// The caller is keying.
    Keying,
    /// The caller says a word to the machine.
    Saying,
    /// The caller says a word.
    Word,
    /// The caller types a code in the portal.
    Approving,
    /// The caller signs in the portal, or at the sign-in provider.
    Signing,
    /// The customer is somebody else.
    Disowned,
    /// The last proof did not come about.
    AnotherWay,
    /// The message did not arrive.
    NotDelivered,
    /// The action needs more proof.
    OneMore,
    /// Somebody else has to do it.
    Specialist,
    /// Only signed in; the way was sent.
    OnlineSent,
    /// Only signed in; the way can be sent.
    Online,
    /// Not on this call.
    Refused,
    /// Carried out.
    Done,
    /// Some of what was asked is done, some is not for the phone.
    AnythingElse,
    /// Proved, nothing asked yet.
    Confirmed,
}

/// The line for this moment; none while there is nobody to read it to.
pub fn script(view: &AgentView) -> Option<Script> {
    let with = |line, hint| Some(Script { line, hint });
    if !view.mine || view.stage == Stage::Ended {
        return None;
    }
    if view.disowned {
        return with(Line::Disowned, "The customer, signed in, says that this is not them. Do not say so; end the call, or hand it to a specialist.");
    }
    if view.link.is_some() {
        return with(Line::Approving, "Read the code below out. Whose portal it is typed in, that customer's call this is.");
    }
    if let Some(challenge) = &view.challenge {
        return if challenge.kind == FactorKind::Approval {
            with(Line::Approving, "Read the code below out, slowly. You see here what the customer answers.")
        } else if challenge.kind.is_elsewhere() {
            with(Line::Signing, "There is nothing to say or to key. You see here what the customer answers.")
        } else if challenge.keyed && challenge.kind == FactorKind::VerbalPassword {
            with(Line::Saying, "You hear nothing of it. If it does not work, you ask for it yourself.")
        } else if challenge.keyed {
            with(Line::Keying, "You hear no keys, and never ask for the code itself.")
        } else {
            with(Line::Word, "Type what you hear. You learn match or no match, never the word on file.")
        };
    }
    if view.frozen && view.queue != Some(Queue::Specialists) {
        return with(Line::Specialist, "The account is frozen. Do not say so: you do not know yet who is on the line.");
    }
    let out_of_tries = view.misses_left == 0;
    let prove = |hint| match view.factors.first() {
        Some(kind) => with(Line::Proof(*kind), hint),
        None => with(Line::NoFactor, "This customer has nothing that could be asked for on this call."),
    };
    if !view.identified {
        return if out_of_tries {
            with(Line::Specialist, "No more details are taken on this call.")
        } else if view.claims.iter().all(|c| c.via == countersign_core::claim::Via::Network) {
            with(Line::AccountNumber, "Two details of different kinds must agree before an account opens. Never suggest a value.")
        } else {
            with(Line::AnotherDetail, "Noted is not the same as right: which detail fits is shown once an account is open.")
        };
    }
    if !view.opened {
        return if out_of_tries {
            prove("No more details are taken on this call: only a proof helps now.")
        } else {
            with(Line::SecondDetail, "One more detail that fits opens the account, or a proof does.")
        };
    }
    match view.last_closed {
        Some(Closed::NotDelivered) => return with(Line::NotDelivered, "Ask for another proof, or hand over to a specialist."),
        Some(Closed::Exhausted | Closed::Expired | Closed::Throttled) if view.level < Level::Strong => {
            return with(Line::AnotherWay, "Ask for another proof, or hand over to a specialist.");
        }
        _ => {}
    }
    if view.level < Level::Authenticated {
        return prove("Ask at the moment when it is needed, and say what it is for.");
    }
    let asked = |offer: Offer| view.actions.iter().find(|a| a.asked && a.done == 0 && a.offer == offer);
    if asked(Offer::StepUp).is_some() {
        return with(Line::OneMore, "Choose the proof beside the action.");
    }
    // The view does not say in which order things were asked: with something done, nothing is said of the rest.
    if !view.performed.is_empty() && [Offer::Specialist, Offer::Online, Offer::Refused].into_iter().any(|o| asked(o).is_some()) {
        return with(Line::AnythingElse, "What was done and what was sent stands beside the actions.");
    }
    if asked(Offer::Specialist).is_some() {
        return with(Line::Specialist, "Everything that was proved goes with the call.");
    }
    if let Some(online) = asked(Offer::Online) {
        let sent = view.sent_online.contains(&online.action);
        return with(if sent { Line::OnlineSent } else { Line::Online }, "The phone never does this, whoever calls.");
    }
    if asked(Offer::Refused).is_some() {
        return with(Line::Refused, "The reason is beside the action. There is no way around it on this call.");
    }
    if view.performed.is_empty() {
        with(Line::Confirmed, "Show only what you need for what the caller wants.")
    } else {
        with(Line::Done, "The notice goes out by itself, also to a contact that was just replaced.")
    }
}

impl Line {
    /// The words.
    pub fn text(self, lang: Lang) -> &'static str {
        let [en, es, de] = self.texts();
        match lang {
            Lang::En => en,
            Lang::Es => es,
            Lang::De => de,
        }
    }

    fn texts(self) -> [&'static str; 3] {
        match self {
            Self::AccountNumber => [
                "To find your account, may I have your account number?",
                "Para encontrar su cuenta, ¿me puede decir su número de cuenta?",
                "Damit ich Ihr Konto finde: Wie lautet Ihre Kundennummer?",
            ],
            Self::AnotherDetail => [
                "Thank you. May I have one more detail, for example your e-mail address or an order number?",
                "Gracias. ¿Me puede dar otro dato, por ejemplo su correo electrónico o un número de pedido?",
                "Vielen Dank. Sagen Sie mir bitte noch etwas, zum Beispiel Ihre E-Mail-Adresse oder eine Bestellnummer?",
            ],
            Self::SecondDetail => [
                "Thank you. Could you give me one more detail, for example your full name or your postal code?",
                "Gracias. ¿Me puede dar un dato más, por ejemplo su nombre completo o su código postal?",
                "Vielen Dank. Sagen Sie mir bitte noch etwas, zum Beispiel Ihren vollen Namen oder Ihre Postleitzahl?",
            ],
            Self::Proof(FactorKind::Passkey) => [
                "Before I go on, I need to check that it is you. Please sign in on our website and approve there with your passkey.",
                "Antes de seguir tengo que comprobar que es usted. Inicie sesión en nuestra página y apruébelo allí con su llave de acceso.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Bitte melden Sie sich auf unserer Website an und bestätigen Sie dort mit Ihrem Passkey.",
            ],
            Self::Proof(FactorKind::Approval | FactorKind::AppCall | FactorKind::Callback) => [
                "Before I go on, I need to check that it is you. Please sign in on our website; I will read you a code to type there.",
                "Antes de seguir tengo que comprobar que es usted. Inicie sesión en nuestra página; le leeré un código para escribirlo allí.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Bitte melden Sie sich auf unserer Website an; ich lese Ihnen einen Code vor, den Sie dort eintippen.",
            ],
            Self::Proof(FactorKind::Provider) => [
                "Before I go on, I need to check that it is you. The sign-in of our website will ask you to approve.",
                "Antes de seguir tengo que comprobar que es usted. El inicio de sesión de nuestra página le pedirá que lo apruebe.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Die Anmeldung unserer Website bittet Sie gleich um eine Bestätigung.",
            ],
            Self::Proof(FactorKind::BackupCode) => [
                "Before I go on, I need to check that it is you. Please take your printed list of codes; you key one of them on your phone.",
                "Antes de seguir tengo que comprobar que es usted. Tome por favor su lista impresa de códigos; uno de ellos se marca en el teléfono.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Bitte nehmen Sie Ihre ausgedruckte Codeliste; einen der Codes tippen Sie am Telefon ein.",
            ],
            Self::Approving => [
                "Please sign in on our website. It asks for the code from the phone: I read it to you now. Give it to nobody else.",
                "Inicie sesión en nuestra página. Allí se le pide el código del teléfono: se lo leo ahora. No se lo dé a nadie más.",
                "Bitte melden Sie sich auf unserer Website an. Dort wird nach dem Code vom Telefon gefragt: Ich lese ihn jetzt vor. Geben Sie ihn niemandem sonst.",
            ],
            Self::Signing => [
                "Please sign in on our website and approve there with your passkey. I see here when it is done.",
                "Inicie sesión en nuestra página y apruébelo allí con su llave de acceso. Yo veo aquí cuándo está hecho.",
                "Bitte melden Sie sich auf unserer Website an und bestätigen Sie dort mit Ihrem Passkey. Ich sehe hier, wenn es geschehen ist.",
            ],
            Self::Disowned => [
                "I am sorry, I cannot go on with this call. Please sign in on our website, or call us again.",
                "Lo siento, no puedo continuar con esta llamada. Inicie sesión en nuestra página o vuelva a llamarnos.",
                "Es tut mir leid, ich kann diesen Anruf nicht fortsetzen. Bitte melden Sie sich auf unserer Website an oder rufen Sie erneut an.",
            ],
            Self::Proof(FactorKind::Totp) => [
                "Before I go on, I need to check that it is you. Please open your authenticator app; you key the code on your phone.",
                "Antes de seguir tengo que comprobar que es usted. Abra por favor su aplicación de autenticación; el código se marca en el teléfono.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Bitte öffnen Sie Ihre Authenticator-App; den Code tippen Sie am Telefon ein.",
            ],
            Self::Proof(FactorKind::Hotp) => [
                "Before I go on, I need to check that it is you. Please take your security token; you key the code on your phone.",
                "Antes de seguir tengo que comprobar que es usted. Tome por favor su llave de seguridad; el código se marca en el teléfono.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Bitte nehmen Sie Ihren Sicherheits-Token; den Code tippen Sie am Telefon ein.",
            ],
            Self::Proof(FactorKind::ServiceCode) => [
                "Before I go on, I need to check that it is you. Please sign in on our website; you key the code from there on your phone.",
                "Antes de seguir tengo que comprobar que es usted. Inicie sesión en nuestra página; el código que ve allí se marca en el teléfono.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Bitte melden Sie sich auf unserer Website an; den Code am Seitenende tippen Sie am Telefon ein.",
            ],
            Self::Proof(FactorKind::SmsCode) => [
                "Before I go on, I need to check that it is you. I can text a code to the mobile number on file; you key it on your phone.",
                "Antes de seguir tengo que comprobar que es usted. Le puedo enviar un código al móvil que tenemos registrado; se marca en el teléfono.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Ich kann einen Code an die hinterlegte Mobilnummer schicken; Sie tippen ihn am Telefon ein.",
            ],
            Self::Proof(FactorKind::VoiceCode) => [
                "Before I go on, I need to check that it is you. We can ring the number on file with a code; you key it on your phone.",
                "Antes de seguir tengo que comprobar que es usted. Podemos llamar al número registrado con un código; se marca en el teléfono.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Wir können die hinterlegte Nummer mit einem Code anrufen; Sie tippen ihn am Telefon ein.",
            ],
            Self::Proof(FactorKind::VerbalPassword) => [
                "Before I go on, I need to check that it is you. You set up a password for the phone: I will ask you for it now.",
                "Antes de seguir tengo que comprobar que es usted. Usted tiene una contraseña para el teléfono: se la voy a pedir ahora.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Sie haben ein Kennwort für das Telefon: Danach frage ich Sie jetzt.",
            ],
            Self::Proof(FactorKind::Pin) => [
                "Before I go on, I need to check that it is you. You will be asked to key your PIN on your phone; I cannot hear the keys.",
                "Antes de seguir tengo que comprobar que es usted. Se le pedirá que marque su PIN en el teléfono; yo no oigo las teclas.",
                "Bevor ich weitermache, muss ich prüfen, dass Sie es sind. Sie werden gebeten, Ihre PIN am Telefon einzutippen; ich höre die Tasten nicht.",
            ],
            Self::NoFactor => [
                "I cannot check over the phone that it is you. Please sign in on our website for that.",
                "Por teléfono no puedo comprobar que es usted. Para eso, inicie sesión en nuestra página.",
                "Am Telefon kann ich nicht prüfen, dass Sie es sind. Bitte melden Sie sich dafür auf unserer Website an.",
            ],
            Self::Keying => [
                "Please key it on your phone now and end with the hash or pound key. I cannot hear the keys, and you never need to tell me a code.",
                "Por favor, márquelo ahora en el teléfono y termine con la tecla almohadilla. Yo no oigo las teclas, y nunca tiene que decirme un código.",
                "Bitte tippen Sie es jetzt am Telefon ein und schließen Sie mit der Rautetaste ab. Ich höre die Tasten nicht, und Sie müssen mir nie einen Code sagen.",
            ],
            Self::Saying => [
                "Please say your password for the phone now, after the announcement. I cannot hear it; press any key for another way.",
                "Por favor, diga ahora su contraseña para el teléfono, después del aviso. Yo no la oigo; pulse cualquier tecla para hacerlo de otra forma.",
                "Bitte sagen Sie jetzt nach der Ansage Ihr Kennwort für das Telefon. Ich höre es nicht; mit jeder Taste geht es auf andere Weise.",
            ],
            Self::Word => [
                "Please tell me your password for the phone now. I type what I hear; I cannot see it.",
                "Por favor, dígame ahora su contraseña para el teléfono. Escribo lo que oigo; no la veo.",
                "Bitte sagen Sie mir jetzt Ihr Kennwort für das Telefon. Ich tippe, was ich höre; sehen kann ich es nicht.",
            ],
            Self::AnotherWay => [
                "That did not work. We can try another way.",
                "Eso no ha funcionado. Podemos probar de otra manera.",
                "Das hat nicht geklappt. Wir können es auf anderem Weg versuchen.",
            ],
            Self::NotDelivered => [
                "The message did not arrive. We can try another way.",
                "El mensaje no ha llegado. Podemos probar de otra manera.",
                "Die Nachricht ist nicht angekommen. Wir können es auf anderem Weg versuchen.",
            ],
            Self::OneMore => [
                "For that I need one more check that it is you.",
                "Para eso necesito comprobar una vez más que es usted.",
                "Dafür muss ich noch einmal prüfen, dass Sie es sind.",
            ],
            Self::Specialist => [
                "A specialist will go on with you. I put you through, and you will not have to repeat anything.",
                "Le va a atender un especialista. Le paso con él y no tendrá que repetir nada.",
                "Eine Spezialistin oder ein Spezialist macht mit Ihnen weiter. Ich verbinde Sie, und Sie müssen nichts wiederholen.",
            ],
            Self::OnlineSent => [
                "For your safety this is only done when you are signed in. I have sent the way there to the contact we have on file.",
                "Por su seguridad, esto solo se hace con la sesión iniciada. He enviado el enlace al contacto que tenemos registrado.",
                "Zu Ihrer Sicherheit geht das nur angemeldet. Ich habe den Weg dorthin an den hinterlegten Kontakt geschickt.",
            ],
            Self::Online => [
                "For your safety this is only done when you are signed in. I can send the way there to the contact we have on file.",
                "Por su seguridad, esto solo se hace con la sesión iniciada. Puedo enviar el enlace al contacto que tenemos registrado.",
                "Zu Ihrer Sicherheit geht das nur angemeldet. Ich kann den Weg dorthin an den hinterlegten Kontakt schicken.",
            ],
            Self::Refused => [
                "I am sorry, I cannot do that on this call.",
                "Lo siento, en esta llamada no puedo hacerlo.",
                "Es tut mir leid, das kann ich in diesem Anruf nicht tun.",
            ],
            Self::Done => [
                "That is done. You will get a message about it at the contact we have on file. Is there anything else?",
                "Ya está hecho. Recibirá un mensaje en el contacto que tenemos registrado. ¿Hay algo más?",
                "Das ist erledigt. Sie bekommen eine Nachricht an den hinterlegten Kontakt. Kann ich noch etwas für Sie tun?",
            ],
            Self::AnythingElse => [
                "Is there anything else I can do for you?",
                "¿Puedo hacer algo más por usted?",
                "Kann ich noch etwas für Sie tun?",
            ],
            Self::Confirmed => [
                "Thank you, that is confirmed. What can I do for you?",
                "Gracias, está confirmado. ¿Qué puedo hacer por usted?",
                "Vielen Dank, das ist bestätigt. Was kann ich für Sie tun?",
            ],
        }
    }
}

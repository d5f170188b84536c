# Was am Telefon gesagt wird, und die Wendungen für Anliegen.
# Sätze unter zwanzig Wörtern; die Taste kommt nach der Sache. Eine Ziffer steht nie am
# Satzende: eine Sprachausgabe läse »3.« als »dritte«.

weekday = { $n ->
    [1] Montag
    [2] Dienstag
    [3] Mittwoch
    [4] Donnerstag
    [5] Freitag
    [6] Samstag
   *[7] Sonntag
}
month = { $n ->
    [1] Januar
    [2] Februar
    [3] März
    [4] April
    [5] Mai
    [6] Juni
    [7] Juli
    [8] August
    [9] September
    [10] Oktober
    [11] November
   *[12] Dezember
}
day = { $weekday }, { $date }. { $month }
# Wie das Datum klingt: was eine Aufnahme an seiner Stelle sagt.
date = { $n ->
    [1] dem ersten
    [2] dem zweiten
    [3] dem dritten
    [4] dem vierten
    [5] dem fünften
    [6] dem sechsten
    [7] dem siebten
    [8] dem achten
    [9] dem neunten
    [10] dem zehnten
    [11] dem elften
    [12] dem zwölften
    [13] dem dreizehnten
    [14] dem vierzehnten
    [15] dem fünfzehnten
    [16] dem sechzehnten
    [17] dem siebzehnten
    [18] dem achtzehnten
    [19] dem neunzehnten
    [20] dem zwanzigsten
    [21] dem einundzwanzigsten
    [22] dem zweiundzwanzigsten
    [23] dem dreiundzwanzigsten
    [24] dem vierundzwanzigsten
    [25] dem fünfundzwanzigsten
    [26] dem sechsundzwanzigsten
    [27] dem siebenundzwanzigsten
    [28] dem achtundzwanzigsten
    [29] dem neunundzwanzigsten
    [30] dem dreißigsten
   *[31] dem einunddreißigsten
}

plus = plus

##

# Für ein Unternehmen, dessen Namen keine Aufnahme sagt.
welcome-unnamed = Herzlich willkommen.
hello-unnamed = Guten Tag.
goodbye-unnamed = Vielen Dank für Ihren Anruf.

welcome = Willkommen bei { $company }.
choose-language = Für Deutsch bitte die { $key } drücken.
recognised = Wir kennen die Nummer, von der Sie anrufen.
recognised-upcoming = Wir kennen die Nummer, von der Sie anrufen. Geht es um die Lieferung am { $day }? Dann bitte die 1 drücken. Für alles andere bitte die 2 drücken.
menu = Wenn Sie auf unserer Website angemeldet sind, sehen Sie dort einen Code für das Telefon. Um diesen Code einzugeben, bitte die 1 drücken. Um Ihre Kundennummer einzugeben, bitte die 2 drücken. Um einen Code zu hören, den Sie auf unserer Website eintippen, bitte die 3 drücken. Für die Kundenberatung bitte die 0 drücken. Für eine andere Sprache bitte die Sterntaste drücken.
enter-service-code = Bitte geben Sie den Code für das Telefon ein. Sie sehen ihn auf unserer Website, wenn Sie angemeldet sind. Schließen Sie mit der Raute-Taste ab.
enter-account-number = Bitte geben Sie Ihre Kundennummer ein. Schließen Sie mit der Raute-Taste ab. Wenn Sie sie nicht zur Hand haben, bitte die 0 und dann die Raute-Taste drücken.
enter-postal-code = Bitte geben Sie die Ziffern Ihrer Postleitzahl ein. Schließen Sie mit der Raute-Taste ab.
noted = Vielen Dank, das haben wir notiert.
enter-sms-code = Wir haben gerade einen Code an die hinterlegte Mobilnummer gesendet. Bitte geben Sie ihn hier ein. Schließen Sie mit der Raute-Taste ab.
enter-voice-code = Wir rufen die hinterlegte Nummer an und nennen dort einen Code. Bitte geben Sie ihn hier ein. Schließen Sie mit der Raute-Taste ab.
enter-totp = Bitte geben Sie den Code aus Ihrer Authentifizierungs-App ein. Schließen Sie mit der Raute-Taste ab.
enter-hotp = Bitte geben Sie den Code von Ihrem Sicherheitsgerät ein. Schließen Sie mit der Raute-Taste ab.
enter-pin = Bitte geben Sie Ihre PIN ein. Schließen Sie mit der Raute-Taste ab.
say-verbal-password = Bitte sagen Sie Ihr Kennwort für das Telefon. Wer in der Nähe ist, kann es hören. Um sich auf andere Weise auszuweisen, drücken Sie bitte eine beliebige Taste.
enter-backup-code = Bitte geben Sie einen unbenutzten Code von Ihrer ausgedruckten Liste ein. Schließen Sie mit der Raute-Taste ab.
one-moment = Einen Moment, bitte.
approve-in-portal = Wir haben Sie auf unserer Website gefragt, wo Sie angemeldet sind. Tippen Sie dort diesen Code ein: { $code }. Noch einmal: { $code }.
approve-with-passkey = Wir haben Sie auf unserer Website gefragt, wo Sie angemeldet sind. Bitte bestätigen Sie dort mit Ihrem Passkey.
approve-at-provider = Die Anmeldung unserer Website fragt Sie jetzt. Sie zeigt diesen Code: { $code }. Bestätigen Sie nur, wenn er gleich ist.
type-in-portal = Bitte melden Sie sich auf unserer Website an und wählen Sie: Code vom Telefon. Tippen Sie dort diesen Code ein: { $code }. Noch einmal: { $code }.
approve-help = Wir warten. Um es noch einmal zu hören, bitte die 1 drücken. Für einen anderen Weg bitte die Sterntaste drücken. Für die Kundenberatung bitte die 0 drücken.
call-back = Hallo, hier ist { $company }. Sie haben um diesen Anruf gebeten. Drücken Sie die Taste, die unsere Website jetzt zeigt.
we-call = Hallo, hier ist { $company }. Jemand von uns möchte mit Ihnen sprechen. Wenn Sie auf unserer Website angemeldet sind, sehen Sie dort, dass wir es sind. Um jetzt zu sprechen, bitte die 1 drücken. Sonst legen Sie einfach auf.
proof-help = Um sich auf andere Weise auszuweisen, bitte die Sterntaste drücken. Für die Kundenberatung bitte die 0 und dann die Raute-Taste drücken.
try-again = Das wurde nicht angenommen. Bitte versuchen Sie es noch einmal.
no-more-tries = Das wurde nicht angenommen. Auf diesem Weg ist kein weiterer Versuch möglich.
verified = Vielen Dank, das wurde angenommen.
step-up = Die Kundenberatung bleibt in der Leitung. Sie möchten { $action }. Dafür müssen wir prüfen, ob Sie es sind. Ihre Tasten kann dort niemand hören.
back-to-agent = Vielen Dank. Wir bringen Sie jetzt zurück zur Kundenberatung.
choose-music = Bitte wählen Sie, was Sie beim Warten hören möchten. Für ruhige Musik bitte die 1 drücken. Für lebhafte Musik bitte die 2 drücken. Für klassische Musik bitte die 3 drücken. Für Stille bitte die 4 drücken.
waiting = Die Kundenberatung ist bald für Sie da. Was Sie eingegeben haben, müssen Sie nicht wiederholen.
waiting-specialist = Unser Fachteam ist bald für Sie da. Was Sie eingegeben haben, müssen Sie nicht wiederholen.
connecting = Sie werden jetzt verbunden.
nothing-heard = Bei uns ist keine Eingabe angekommen.
not-understood = Das haben wir nicht verstanden.
goodbye = Vielen Dank für Ihren Anruf bei { $company }. Auf Wiederhören.
cannot-help = Es tut uns leid, wir können Ihnen in diesem Anruf nicht weiterhelfen. Vielen Dank und auf Wiederhören.
nobody-free = Es tut uns leid, gerade ist niemand frei. Bitte rufen Sie später noch einmal an.
we-ring-back = Zu Ihrer Sicherheit rufen wir Sie unter einer hinterlegten Nummer zurück. Bitte legen Sie jetzt auf und warten Sie auf unseren Anruf. Auf Wiederhören.
ringing-back = Hallo, hier ist { $company }. Es gab einen Anruf bei uns zu Ihrem Konto, und wir rufen Sie zurück. Wenn Sie auf unserer Website angemeldet sind, sehen Sie dort, dass wir es sind. Um jetzt zu sprechen, bitte die 1 drücken. Sonst legen Sie einfach auf.
online-only = Es tut uns leid, niemand kann diesen Anruf annehmen. Auf unserer Website können Sie alles erledigen, wenn Sie dort angemeldet sind. Auf Wiederhören.

# Stimmen. Wer diese Worte ändert, gibt voice.consent_text in der Konfiguration einen anderen Namen.
voice-phrase = Meine Stimme gehört mir, und heute leihe ich sie Ihnen
voice-consent = Wir möchten Ihre Stimme kennen, um zu merken, wenn jemand anders in Ihrem Namen anruft. Sie allein öffnet nie etwas. Was sie beschreibt, bewahren wir versiegelt und für begrenzte Zeit auf. Sie können das jederzeit zurücknehmen, auf unserer Website oder bei jedem Mitarbeiter. Wenn Sie einverstanden sind, die 1 drücken. Wenn nicht, die 2 drücken. Dann geht alles weiter wie bisher.
voice-say = Bitte sagen Sie nach dem Ton: { voice-phrase }.
voice-say-again = Wir vergleichen Ihre Stimme. Bitte sagen Sie nach dem Ton: { voice-phrase }. Für einen anderen Weg die Sterntaste drücken.
voice-once-more = Danke. Bitte noch einmal.
voice-no-speech = Wir konnten Sie nicht hören.
voice-too-short = Das war zu kurz.
voice-too-noisy = Um Sie herum war es zu laut. Gehen Sie an einen ruhigeren Ort, wenn Sie können.
voice-too-loud = Das war zu laut. Bitte halten Sie das Telefon etwas weiter weg.
voice-not-the-same = Das klang anders als zuvor. Bitte sagen Sie dieselben Worte noch einmal.
voice-thanks = Danke.
voice-digits-too = Danke. Nun noch einige Ziffern, die jedes Mal andere sind, damit niemand mit einer Aufnahme von Ihnen weit kommt. Um es dabei zu belassen, die Sterntaste drücken.
voice-digits = Bitte sagen Sie nach dem Ton diese Ziffern: { $digits }, mit einer kurzen Pause nach jeder.
voice-not-apart = Wir konnten die Ziffern nicht unterscheiden. Bitte machen Sie nach jeder eine kurze, deutliche Pause.
voice-kept = Danke. Wir kennen Ihre Stimme jetzt und bestätigen es Ihnen mit einer Nachricht.
voice-as-you-like = Ganz wie Sie möchten. Es ändert sich nichts.
voice-not-now = Wir belassen es dabei und machen weiter wie immer.

##

call-code = Guten Tag, hier ist { $company }. Sie telefonieren gerade mit uns und möchten { $action }. Ihr Code lautet: { $code }, und noch einmal: { $code }, das war Ihr Code. Bitte geben Sie ihn in Ihrem Anruf bei uns ein. Wir bitten Sie nie, ihn zu sagen. Telefonieren Sie gerade nicht mit uns? Dann rufen Sie bitte { $fraud } an.
call-notice = Guten Tag, hier ist { $company }. Zu Ihrem Konto gab es ein Telefonat. { $done }. Waren Sie das nicht? Dann rufen Sie bitte { $fraud } an.
call-online = Guten Tag, hier ist { $company }. Laut Ihrem Anruf möchten Sie { $action }. Zu Ihrer Sicherheit geht das nur auf unserer Website, wenn Sie angemeldet sind. Waren Sie das nicht? Dann rufen Sie bitte { $fraud } an.
call-changed-online = Hallo, hier ist { $company }. Jemand war in Ihrem Konto angemeldet. { $done }. Wenn Sie das nicht waren, rufen Sie bitte { $fraud } an.

## Nach »Sie möchten …« und »möchten Sie …«.

action-start = sich ausweisen
action-view = Daten Ihres Kontos einsehen
action-change = etwas an Ihrem Konto ändern
action-do = Ihr Anliegen fortsetzen
action-other = Ihr Anliegen fortsetzen
action-change-phone = die Telefonnummer Ihres Kontos ändern
action-change-email = die E-Mail-Adresse Ihres Kontos ändern
action-change-address = die Anschrift Ihres Kontos ändern
action-change-password = ein neues Passwort für Ihr Konto festlegen
action-change-factors = die Sicherheitseinstellungen Ihres Kontos ändern
action-change-voice = Ihre Stimme am Telefon kennenlernen
action-do-cancel_order = eine Bestellung stornieren
action-do-end_freeze = die Sperre Ihres Kontos aufheben
action-do-close_account = Ihr Konto schließen
action-do-redirect_parcel = ein Paket umleiten
action-do-request_refund = eine Erstattung beantragen

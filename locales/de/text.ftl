# SMS. Für einen Code ist genau ein Segment Platz, daher die Wendungen mit »wegen«.

sms-code = Sie telefonieren gerade mit { $company } wegen { $purpose }. Code { $code } eintippen. Wir wollen ihn nie hören. Betrug melden: { $fraud }
sms-code-start = Sie telefonieren gerade mit { $company }. Um sich auszuweisen: Code { $code } eintippen. Wir wollen ihn nie hören. Betrug melden: { $fraud }
sms-changed = { $company }: Zu Ihrem Konto gab es ein Telefonat. { $done }. Waren Sie das nicht? Rückgängig machen: { $link } oder { $fraud } anrufen
sms-changed-final = { $company }: Zu Ihrem Konto gab es ein Telefonat. { $done }. Waren Sie das nicht? Bitte { $fraud } anrufen
sms-summary = { $company }: Danke für Ihren Anruf. { $done }. Waren Sie das nicht? Konto sperren: { $link } oder { $fraud } anrufen
sms-summary-many = { $company }: Danke für Ihren Anruf. { $count ->
    [one] Ein Anliegen wurde
   *[other] { $count } Anliegen wurden
} erledigt. Waren Sie das nicht? Konto sperren: { $link } oder { $fraud } anrufen
sms-online = { $company }: Laut Ihrem Anruf möchten Sie { $action }. Zu Ihrer Sicherheit geht das nur angemeldet: { $link } - Waren Sie das nicht? Bitte { $fraud } anrufen
sms-changed-online = { $company }: Jemand war in Ihrem Konto angemeldet. { $done }. Nicht Sie? Konto sperren: { $link } oder { $fraud } anrufen

## Nach »wegen …«, im Genitiv.

for-view = Ihres Kontos
for-change = einer Änderung
for-do = Ihres Anliegens
for-other = Ihres Anliegens
for-change-phone = neuer Telefonnummer
for-change-email = neuer E-Mail-Adresse
for-change-address = neuer Anschrift
for-change-password = eines neuen Passworts
for-change-factors = neuer Zugangsdaten
for-change-voice = Ihrer Stimme
for-do-cancel_order = einer Stornierung
for-do-end_freeze = der Kontosperre
for-do-close_account = der Kontoschließung
for-do-redirect_parcel = einer Paketumleitung
for-do-request_refund = einer Erstattung

##

done-nothing = Es wurde nichts geändert
done-view = Daten Ihres Kontos wurden eingesehen
done-change = An Ihrem Konto wurde etwas geändert
done-do = Ein Anliegen von Ihnen wurde erledigt
done-other = Ein Anliegen von Ihnen wurde erledigt
done-change-phone = Die Telefonnummer Ihres Kontos wurde geändert
done-change-email = Die E-Mail-Adresse Ihres Kontos wurde geändert
done-change-address = Die Anschrift Ihres Kontos wurde geändert
done-change-password = Sie haben einen Link für ein neues Passwort erhalten
done-change-factors = Die Sicherheitseinstellungen Ihres Kontos wurden geändert
done-change-voice = Ihre Stimme ist jetzt für Anrufe hinterlegt
done-do-cancel_order = Eine Bestellung wurde storniert
done-do-end_freeze = Die Sperre Ihres Kontos wurde aufgehoben
done-do-close_account = Ihr Konto wurde geschlossen
done-do-redirect_parcel = Ein Paket wurde umgeleitet
done-do-request_refund = Eine Erstattung wurde beantragt
done-do-download_data = Eine Kopie aller Ihrer Daten wurde heruntergeladen

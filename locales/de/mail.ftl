# E-Mail, reiner Text. Codes gehen nie per E-Mail.

mail-code-subject = Ihr Anruf bei { $company }
mail-code-text =
    Guten Tag,

    Sie telefonieren gerade mit uns und möchten { $action }. Wir haben einen Code an eine hinterlegte Telefonnummer gesendet.

    Bitte geben Sie den Code am Telefon ein. Wir bitten Sie nie, ihn zu sagen, und senden ihn nie per E-Mail.

    Telefonieren Sie gerade nicht mit uns? Dann rufen Sie bitte { $fraud } an, um Betrug zu melden.

    { $company }

mail-changed-subject = { $done } ({ $company })
mail-changed-text =
    Guten Tag,

    zu Ihrem Konto gab es ein Telefonat mit uns. { $done }.

    Sie erhalten diese Nachricht an einen Kontakt, der schon vorher hinterlegt war. Zu Ihrer Sicherheit zeigt sie keine Ihrer Daten.

    Wenn Sie das waren, brauchen Sie nichts zu tun.

    Wenn Sie das nicht waren, machen Sie es hier rückgängig:
    { $link }

    Betrug melden Sie unter { $fraud }.

    { $company }
mail-changed-final-text =
    Guten Tag,

    zu Ihrem Konto gab es ein Telefonat mit uns. { $done }.

    Sie erhalten diese Nachricht an einen Kontakt, der schon vorher hinterlegt war. Zu Ihrer Sicherheit zeigt sie keine Ihrer Daten.

    Wenn Sie das waren, brauchen Sie nichts zu tun.

    Wenn Sie das nicht waren, rufen Sie bitte { $fraud } an, um Betrug zu melden.

    { $company }

mail-summary-subject = Ihr Anruf bei { $company }
mail-summary-text =
    Guten Tag,

    vielen Dank für Ihren Anruf bei { $company }. Das wurde im Anruf erledigt:

    { $list }

    Wenn Sie das waren, brauchen Sie nichts zu tun.

    Waren Sie das nicht? Sagen Sie es uns hier, dann sperren wir Ihr Konto:
    { $link }

    Betrug können Sie auch telefonisch melden: { $fraud }.

    So bleiben Sie am Telefon sicher:
    - Wir senden Ihnen nur dann einen Code, wenn Sie mit uns telefonieren.
    - Geben Sie den Code über die Tasten ein. Wir bitten Sie nie, ihn zu sagen.
    - Will jemand, der Sie anruft, einen Code von Ihnen? Legen Sie auf und rufen Sie { $fraud } an.

    { $company }

mail-online-subject = Nur angemeldet möglich: { $action } ({ $company })
mail-online-text =
    Guten Tag,

    laut Ihrem Anruf bei uns möchten Sie { $action }. Zu Ihrer Sicherheit geht das nicht am Telefon, sondern nur, wenn Sie angemeldet sind:
    { $link }

    Waren Sie das nicht? Dann rufen Sie bitte { $fraud } an, um Betrug zu melden.

    { $company }

mail-changed-online-subject = { $done } ({ $company })
mail-changed-online-text =
    Guten Tag,

    jemand war auf unserer Website in Ihrem Konto angemeldet. { $done }.

    Sie bekommen diese Nachricht an einen Kontakt, den wir schon hatten. Zu Ihrer Sicherheit zeigt sie keine Ihrer Daten.

    Wenn Sie das waren, brauchen Sie nichts zu tun.

    Das waren nicht Sie? Sagen Sie es uns hier, und wir sperren Ihr Konto:
    { $link }

    Betrug können Sie auch telefonisch melden: { $fraud }.

    { $company }

## The first lines of the file of everything that is kept about a customer. In English the names of
## its parts, which programs read.

download-about =
    Das ist alles, was { $company } über Sie aufbewahrt.
    "profile" ist, was hinterlegt ist. "calls" sind Ihre Anrufe: was darin geschah, solange es um Sie ging oder Sie sprachen, und was dazu notiert wurde. "account_record" ist, was außerhalb von Anrufen mit Ihrem Konto geschah.
    Nicht enthalten: womit Sie sich ausweisen, etwa PINs und Schlüssel, denn das könnte niemand sicher herausgeben; und wie wir uns gegen Betrug schützen, denn das hülfe denen, die ihn versuchen.
    Bewahren Sie diese Datei sicher auf: Mit ihrem Inhalt könnte sich jemand anderswo als Sie ausgeben. Haben Sie Fragen, oder hat jemand anders sie heruntergeladen? Rufen Sie { $fraud } an.

## The receipt of a call, in the portal. Link and explanation stand on a page that is in English.

receipt-link = Beleg
receipt-about = Ein Beleg ist eine Datei, mit der Sie später auch ohne uns zeigen können, dass es diesen Anruf gab, womit Sie sich ausweisen sollten, wer ihn annahm und wie er endete.
receipt-not-yet = Der Beleg für diesen Anruf ist noch nicht fertig. Er ist eine Minute nach dem Ende des Anrufs da: Bitte versuchen Sie es dann noch einmal.
receipt-enough = Von diesem Konto wurden zu viele Belege abgerufen. Bitte versuchen Sie es in einer Stunde noch einmal.
receipt-frozen = Ihr Konto ist gesperrt. Bis das vorbei ist, werden hier keine Belege herausgegeben. Bitte rufen Sie uns an.

# Lo que se dice por teléfono, y las frases para cada gestión.
# Frases de menos de veinte palabras; la tecla va después de la opción.

weekday = { $n ->
    [1] lunes
    [2] martes
    [3] miércoles
    [4] jueves
    [5] viernes
    [6] sábado
   *[7] domingo
}
month = { $n ->
    [1] enero
    [2] febrero
    [3] marzo
    [4] abril
    [5] mayo
    [6] junio
    [7] julio
    [8] agosto
    [9] septiembre
    [10] octubre
    [11] noviembre
   *[12] diciembre
}
day = { $weekday } { $date } de { $month }
# Cómo suena la fecha: lo que dice una grabación en su lugar.
date = { $n ->
    [1] uno
    [2] dos
    [3] tres
    [4] cuatro
    [5] cinco
    [6] seis
    [7] siete
    [8] ocho
    [9] nueve
    [10] diez
    [11] once
    [12] doce
    [13] trece
    [14] catorce
    [15] quince
    [16] dieciséis
    [17] diecisiete
    [18] dieciocho
    [19] diecinueve
    [20] veinte
    [21] veintiuno
    [22] veintidós
    [23] veintitrés
    [24] veinticuatro
    [25] veinticinco
    [26] veintiséis
    [27] veintisiete
    [28] veintiocho
    [29] veintinueve
    [30] treinta
   *[31] treinta y uno
}

plus = más

##

# Para una empresa cuyo nombre no dice ninguna grabación.
welcome-unnamed = Le damos la bienvenida.
hello-unnamed = Hola.
goodbye-unnamed = Gracias por llamar.

welcome = Le damos la bienvenida a { $company }.
choose-language = Para español, marque { $key }.
recognised = Reconocemos el número desde el que llama.
recognised-upcoming = Reconocemos el número desde el que llama. Si llama por la entrega prevista para el { $day }, marque 1. Para cualquier otro asunto, marque 2.
menu = Cuando inicia sesión en nuestra página web, ve un código para el teléfono. Para introducir ese código, marque 1. Para introducir su número de cuenta, marque 2. Para oír un código que se escribe en nuestra página, marque 3. Para hablar con un agente, marque 0. Para otro idioma, marque asterisco.
enter-service-code = Marque el código para el teléfono. Lo ve en nuestra web con la sesión iniciada. Termine con la tecla numeral o almohadilla.
enter-account-number = Marque su número de cuenta. Termine con la tecla numeral o almohadilla. Si no lo tiene a mano, marque 0 y luego numeral o almohadilla.
enter-postal-code = Marque los dígitos de su código postal. Termine con la tecla numeral o almohadilla.
noted = Gracias, lo hemos anotado.
enter-sms-code = Acabamos de enviar un código por mensaje de texto al móvil que tenemos registrado. Márquelo aquí. Termine con la tecla numeral o almohadilla.
enter-voice-code = Estamos llamando al número que tenemos registrado para darle un código. Márquelo aquí. Termine con la tecla numeral o almohadilla.
enter-totp = Marque el código de su aplicación de autenticación. Termine con la tecla numeral o almohadilla.
enter-hotp = Marque el código de su dispositivo de seguridad. Termine con la tecla numeral o almohadilla.
enter-pin = Marque su PIN. Termine con la tecla numeral o almohadilla.
say-verbal-password = Diga su contraseña para el teléfono. Las personas que estén cerca pueden oírla. Para demostrar de otra forma que es usted, pulse cualquier tecla.
enter-backup-code = Marque uno de los códigos de su lista impresa que no haya usado. Termine con la tecla numeral o almohadilla.
one-moment = Un momento, por favor.
approve-in-portal = Le hemos preguntado en nuestra página web, donde tiene la sesión iniciada. Escriba allí este código: { $code }. Otra vez: { $code }.
approve-with-passkey = Le hemos preguntado en nuestra página web, donde tiene la sesión iniciada. Apruébelo allí con su llave de acceso.
approve-at-provider = El inicio de sesión de nuestra página web le pregunta ahora. Muestra este código: { $code }. Apruebe solo si es el mismo.
type-in-portal = Inicie sesión en nuestra página web y elija: código del teléfono. Escriba allí este código: { $code }. Otra vez: { $code }.
approve-help = Estamos esperando. Para oírlo otra vez, marque 1. Para hacerlo de otra forma, marque asterisco. Para hablar con un agente, marque 0.
call-back = Hola, le llamamos de { $company }. Usted pidió esta llamada. Marque la tecla que muestra ahora nuestra página web.
we-call = Hola, le llamamos de { $company }. Una persona de nuestro equipo quiere hablar con usted. En nuestra página web, con la sesión iniciada, puede ver que somos nosotros. Para hablar ahora, marque 1. Si no, cuelgue.
proof-help = Para demostrar de otra forma que es usted, marque asterisco. Para hablar con un agente, marque 0 y luego numeral o almohadilla.
try-again = No se ha aceptado. Inténtelo de nuevo, por favor.
no-more-tries = No se ha aceptado. Ya no es posible intentarlo de nuevo por esta vía.
verified = Gracias, se ha aceptado.
step-up = Su agente sigue en la línea. Para { $action }, necesitamos comprobar que es usted. El agente no puede oír las teclas que marque.
back-to-agent = Gracias. Ahora vuelve con su agente.
choose-music = Elija lo que quiere escuchar mientras espera. Para música tranquila, marque 1. Para música animada, marque 2. Para música clásica, marque 3. Para silencio, marque 4.
waiting = Un agente le atenderá pronto. No tendrá que repetir nada de lo que ha marcado.
waiting-specialist = Un especialista le atenderá pronto. No tendrá que repetir nada de lo que ha marcado.
connecting = Ahora mismo le comunicamos.
nothing-heard = No hemos recibido ninguna tecla.
not-understood = No se ha entendido.
goodbye = Gracias por llamar a { $company }. Hasta pronto.
cannot-help = Lo sentimos, no podemos atenderle en esta llamada. Gracias por llamar y hasta pronto.
nobody-free = Lo sentimos, ahora no hay nadie disponible. Vuelva a llamar más tarde, por favor.
we-ring-back = Por su seguridad, le vamos a llamar a un número que tenemos registrado. Cuelgue ahora y espere nuestra llamada. Hasta pronto.
ringing-back = Hola, le llamamos de { $company }. Hubo una llamada sobre su cuenta, y le devolvemos la llamada. En nuestra página web, con la sesión iniciada, puede ver que somos nosotros. Para hablar ahora, marque 1. Si no, cuelgue.
online-only = Lo sentimos, nadie puede atender esta llamada. En nuestra página web, con la sesión iniciada, puede hacerlo todo. Hasta pronto.

# Voces. Quien cambie estas palabras da otro nombre a voice.consent_text en la configuración.
voice-phrase = Mi voz es mía, y hoy se la presto a ustedes
voice-consent = Nos gustaría conocer su voz, para notar si otra persona llama en su nombre. Nunca abre nada por sí sola. Guardamos lo que la describe, sellado, por un tiempo limitado. Puede retirarla en cualquier momento, en nuestra web o con un agente. Si está de acuerdo, pulse 1. Si no lo está, pulse 2. Entonces todo sigue como antes.
voice-say = Después del tono, diga por favor: { voice-phrase }.
voice-say-again = Comparamos su voz. Después del tono, diga por favor: { voice-phrase }. Para otra forma, pulse asterisco.
voice-once-more = Gracias. Una vez más, por favor.
voice-no-speech = No le hemos oído.
voice-too-short = Ha sido demasiado corto.
voice-too-noisy = Había demasiado ruido. Vaya a un lugar más tranquilo, si puede.
voice-too-loud = Ha sonado demasiado fuerte. Aleje un poco el teléfono, por favor.
voice-not-the-same = No ha sonado como la vez anterior. Diga de nuevo las mismas palabras, por favor.
voice-thanks = Gracias.
voice-digits-too = Gracias. Ahora unas cifras, que cada vez son otras, para que nadie llegue lejos con una grabación de usted. Para dejarlo así, pulse asterisco.
voice-digits = Después del tono, diga estas cifras, con una breve pausa después de cada una: { $digits }.
voice-not-apart = No hemos podido distinguir las cifras. Haga una pausa breve y clara después de cada una, por favor.
voice-kept = Gracias. Ya conocemos su voz, y se lo confirmaremos en un mensaje.
voice-as-you-like = Como prefiera. No cambia nada.
voice-not-now = Lo dejamos así, y seguimos como siempre.

##

call-code = Hola, le llama { $company }. Usted está ahora al teléfono con nosotros para { $action }. Este es su código: { $code }. De nuevo: { $code }. Márquelo en su llamada con nosotros. Nunca le pedimos que lo diga. Si no está al teléfono con nosotros, llame al número { $fraud }.
call-notice = Hola, le llama { $company }. Hubo una llamada telefónica sobre su cuenta. { $done }. Si no fue usted, llame al número { $fraud }.
call-online = Hola, le llama { $company }. Usted pidió por teléfono { $action }. Por su seguridad, solo puede hacerse en nuestra página web, con la sesión iniciada. Si no fue usted, llame al número { $fraud }.
call-changed-online = Hola, le llamamos de { $company }. Alguien tenía la sesión iniciada en su cuenta. { $done }. Si no fue usted, llame al { $fraud }.

##

action-start = demostrar que es usted
action-view = consultar datos de su cuenta
action-change = cambiar algo en su cuenta
action-do = seguir con su solicitud
action-other = seguir con su solicitud
action-change-phone = cambiar el número de teléfono de su cuenta
action-change-email = cambiar el correo electrónico de su cuenta
action-change-address = cambiar la dirección postal de su cuenta
action-change-password = crear una contraseña nueva para su cuenta
action-change-factors = cambiar los ajustes de seguridad de su cuenta
action-change-voice = que conozcamos su voz por teléfono
action-do-cancel_order = cancelar un pedido
action-do-end_freeze = quitar el bloqueo de su cuenta
action-do-close_account = cerrar su cuenta
action-do-redirect_parcel = desviar un paquete
action-do-request_refund = solicitar un reembolso

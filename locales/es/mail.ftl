# Correo electrónico, texto sin formato. Los códigos nunca van por correo.

mail-code-subject = Su llamada con { $company }
mail-code-text =
    Hola:

    Usted está ahora al teléfono con nosotros para { $action }. Hemos enviado un código a un número de teléfono que tenemos registrado.

    Marque el código en su teléfono. Nunca le pedimos que lo diga, y nunca lo enviamos por correo.

    ¿No está al teléfono con nosotros? Llame al { $fraud } para avisar de un fraude.

    { $company }

mail-changed-subject = { $done } ({ $company })
mail-changed-text =
    Hola:

    Hubo una llamada telefónica con nosotros sobre su cuenta. { $done }.

    Recibe este mensaje en un contacto que ya teníamos registrado. Por su seguridad, no muestra ninguno de sus datos.

    Si fue usted, no tiene que hacer nada.

    Si no fue usted, deshágalo aquí:
    { $link }

    Para avisar de un fraude, llame al { $fraud }.

    { $company }
mail-changed-final-text =
    Hola:

    Hubo una llamada telefónica con nosotros sobre su cuenta. { $done }.

    Recibe este mensaje en un contacto que ya teníamos registrado. Por su seguridad, no muestra ninguno de sus datos.

    Si fue usted, no tiene que hacer nada.

    Si no fue usted, llame al { $fraud } para avisar de un fraude.

    { $company }

mail-summary-subject = Su llamada con { $company }
mail-summary-text =
    Hola:

    Gracias por llamar a { $company }. En la llamada se hizo lo siguiente:

    { $list }

    Si fue usted, no tiene que hacer nada.

    ¿No fue usted? Avísenos aquí y bloquearemos su cuenta:
    { $link }

    También puede avisar de un fraude por teléfono: { $fraud }.

    Para su seguridad por teléfono:
    - Solo le enviamos un código mientras está al teléfono con nosotros.
    - Marque el código con las teclas. Nunca le pedimos que lo diga.
    - Si alguien le llama y le pide un código, cuelgue y llame al { $fraud }.

    { $company }

mail-online-subject = Inicie sesión para { $action } ({ $company })
mail-online-text =
    Hola:

    Usted nos pidió por teléfono { $action }. Por su seguridad, solo puede hacerse con la sesión iniciada:
    { $link }

    Si no fue usted, llame al { $fraud } para avisar de un fraude.

    { $company }

mail-changed-online-subject = { $done } ({ $company })
mail-changed-online-text =
    Hola:

    Alguien tenía la sesión iniciada en su cuenta, en nuestra página web. { $done }.

    Recibe este mensaje en un contacto que ya teníamos registrado. Por su seguridad no muestra ningún dato suyo.

    Si fue usted, no tiene que hacer nada.

    ¿No fue usted? Díganoslo aquí y bloqueamos su cuenta:
    { $link }

    También puede denunciar el fraude por teléfono: { $fraud }.

    { $company }

## The first lines of the file of everything that is kept about a customer. In English the names of
## its parts, which programs read.

download-about =
    Esto es todo lo que { $company } conserva sobre usted.
    "profile" es lo que tenemos registrado. "calls" son sus llamadas: lo que ocurrió en ellas mientras trataban de usted o usted hablaba, y lo que se anotó. "account_record" es lo que ocurrió en su cuenta fuera de las llamadas.
    No figura aquí aquello con lo que demuestra quién es, como PIN y claves, porque nadie podría entregarlo con seguridad; ni cómo nos protegemos del fraude, porque ayudaría a quien lo intenta.
    Guarde este archivo en un lugar seguro: con su contenido alguien podría hacerse pasar por usted en otro sitio. ¿Tiene preguntas, o lo ha descargado otra persona? Llame al { $fraud }.

## The receipt of a call, in the portal. Link and explanation stand on a page that is in English.

receipt-link = Justificante
receipt-about = Un justificante es un archivo con el que puede demostrar más adelante, también sin nosotros, que hubo esta llamada, con qué se le pidió que demostrara quién es, quién la atendió y cómo terminó.
receipt-not-yet = El justificante de esta llamada aún no está listo. Lo estará un minuto después del final de la llamada: inténtelo entonces de nuevo.
receipt-enough = Se han pedido demasiados justificantes desde esta cuenta. Inténtelo de nuevo dentro de una hora.
receipt-frozen = Su cuenta está bloqueada. Hasta que deje de estarlo, aquí no se entregan justificantes. Llámenos, por favor.

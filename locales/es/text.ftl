# Mensajes de texto. Escríbanse con todas las tildes: las letras que GSM-7 no tiene
# (á, í, ó, ú) se sustituyen al crear el mensaje.

sms-code = Usted habla ahora con { $company } para { $purpose }. Marque el código { $code }. Nunca pedimos que lo diga. ¿Fraude? Llame al { $fraud }
sms-code-start = Usted habla ahora con { $company } para probar que es usted. Marque el código { $code }. Nunca pedimos que lo diga. ¿Fraude? Llame al { $fraud }
sms-changed = { $company }: hubo una llamada sobre su cuenta. { $done }. ¿No fue usted? Deshágalo: { $link } o llame al { $fraud }
sms-changed-final = { $company }: hubo una llamada sobre su cuenta. { $done }. ¿No fue usted? Llame al { $fraud }
sms-summary = { $company }: gracias por su llamada. { $done }. ¿No fue usted? Bloquee su cuenta: { $link } o llame al { $fraud }
sms-summary-many = { $company }: gracias por su llamada. { $count ->
    [one] Se ha hecho una gestión
   *[other] Se han hecho { $count } gestiones
} en su cuenta. ¿No fue usted? Bloquee su cuenta: { $link } o llame al { $fraud }
sms-online = { $company }: para { $action }, inicie sesión en { $link } - por su seguridad, no se hace por teléfono. ¿No fue usted? Llame al { $fraud }
sms-changed-online = { $company }: alguien tenía la sesión iniciada en su cuenta. { $done }. ¿No fue usted? Bloquee su cuenta: { $link } o llame al { $fraud }

##

for-view = ver su cuenta
for-change = cambiar su cuenta
for-do = una gestión
for-other = una gestión
for-change-phone = cambiar su teléfono
for-change-email = cambiar su correo
for-change-address = cambiar su dirección
for-change-password = crear una contraseña
for-change-factors = cambiar sus claves
for-change-voice = cambiar su voz
for-do-cancel_order = cancelar un pedido
for-do-end_freeze = reactivar su cuenta
for-do-close_account = cerrar su cuenta
for-do-redirect_parcel = desviar un paquete
for-do-request_refund = pedir un reembolso

##

done-nothing = No se ha cambiado nada
done-view = Se han consultado datos de su cuenta
done-change = Se ha cambiado algo en su cuenta
done-do = Se ha atendido una solicitud suya
done-other = Se ha atendido una solicitud suya
done-change-phone = Se ha cambiado el número de teléfono de su cuenta
done-change-email = Se ha cambiado el correo electrónico de su cuenta
done-change-address = Se ha cambiado la dirección postal de su cuenta
done-change-password = Se le ha enviado un enlace para crear una contraseña nueva
done-change-factors = Se han cambiado los ajustes de seguridad de su cuenta
done-change-voice = Su voz está ahora registrada para las llamadas
done-do-cancel_order = Se ha cancelado un pedido
done-do-end_freeze = Se ha quitado el bloqueo de su cuenta
done-do-close_account = Se ha cerrado su cuenta
done-do-redirect_parcel = Se ha desviado un paquete
done-do-request_refund = Se ha solicitado un reembolso
done-do-download_data = Se ha descargado una copia de todos sus datos

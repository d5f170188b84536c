# Text messages. Letters that GSM-7 lacks are replaced when the message is made.
# A code must fit one segment: 160, with 20 for the company and 16 for the fraud line.
# A link is followed by a space or nothing, so that no full stop gets into it.

sms-code = You are on the phone with { $company } now to { $purpose }. Key in code { $code }. We never ask you to say it. Not you? Call { $fraud }
sms-code-start = You are on the phone with { $company } now. To prove it is you, key in code { $code }. We never ask you to say it. Not you? Call { $fraud }
sms-changed = { $company }: there was a phone call about your account. { $done }. Not you? Undo it: { $link } or call { $fraud }
sms-changed-final = { $company }: there was a phone call about your account. { $done }. Not you? Call { $fraud }
sms-summary = { $company }: thank you for your call. { $done }. This wasn't you? Freeze your account: { $link } or call { $fraud }
sms-summary-many = { $company }: thank you for your call. { $count ->
    [one] One thing was
   *[other] { $count } things were
} done for your account. This wasn't you? Freeze your account: { $link } or call { $fraud }
sms-online = { $company }: to { $action }, please sign in at { $link } - for your safety, it cannot be done by phone. Not you? Call { $fraud }
sms-changed-online = { $company }: somebody was signed in to your account. { $done }. Not you? Freeze your account: { $link } or call { $fraud }

## Why a code was sent, in few letters: "on the phone with us now to …".

for-view = see your account
for-change = change your account
for-do = make a request
for-other = make a request
for-change-phone = change your phone
for-change-email = change your e-mail
for-change-address = change your address
for-change-password = set a new password
for-change-factors = change security settings
for-change-voice = change your voice on file
for-do-cancel_order = cancel an order
for-do-end_freeze = unfreeze your account
for-do-close_account = close your account
for-do-redirect_parcel = redirect a parcel
for-do-request_refund = request a refund

## What was done: whole sentences, the full stop left off. Never a value.

done-nothing = Nothing was changed
done-view = Details of your account were looked at
done-change = Something on your account was changed
done-do = A request of yours was carried out
done-other = A request of yours was carried out
done-change-phone = The phone number on your account was changed
done-change-email = The e-mail address on your account was changed
done-change-address = The postal address on your account was changed
done-change-password = You were sent a link to set a new password
done-change-factors = The security settings of your account were changed
done-change-voice = Your voice is on file now for calls
done-do-cancel_order = An order was cancelled
done-do-end_freeze = The freeze on your account was lifted
done-do-close_account = Your account was closed
done-do-redirect_parcel = A parcel was redirected
done-do-request_refund = A refund was requested
done-do-download_data = A copy of all your data was downloaded

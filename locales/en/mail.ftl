# E-mail, plain text. Codes never go by e-mail: it proves nothing (NIST SP 800-63B-4 §3.1.3).

mail-code-subject = Your call with { $company }
mail-code-text =
    Hello,

    You are on the phone with us now to { $action }. We have sent a code to a phone number we have on file.

    Please enter the code on your phone. We never ask you to say it, and we never send it by e-mail.

    Are you not on the phone with us? Then please call { $fraud } to report fraud.

    { $company }

mail-changed-subject = { $done } ({ $company })
mail-changed-text =
    Hello,

    There was a phone call with us about your account. { $done }.

    You get this message at a contact that we already had on file. For your safety it shows none of your data.

    If this was you, there is nothing you need to do.

    If this was not you, undo it here:
    { $link }

    To report fraud, call { $fraud }.

    { $company }
mail-changed-final-text =
    Hello,

    There was a phone call with us about your account. { $done }.

    You get this message at a contact that we already had on file. For your safety it shows none of your data.

    If this was you, there is nothing you need to do.

    If this was not you, please call { $fraud } to report fraud.

    { $company }

mail-summary-subject = Your call with { $company }
mail-summary-text =
    Hello,

    Thank you for calling { $company }. This was done on the call:

    { $list }

    If this was you, there is nothing you need to do.

    This wasn't you? Tell us here, and we freeze your account:
    { $link }

    You can also report fraud by phone: { $fraud }.

    To stay safe on the phone:
    - We only send you a code while you are on the phone with us.
    - Enter the code with the keys. We never ask you to say it.
    - If someone who called you wants a code, hang up and call { $fraud }.

    { $company }

mail-online-subject = Please sign in to { $action } ({ $company })
mail-online-text =
    Hello,

    You asked us by phone to { $action }. For your safety, this can only be done when you are signed in:
    { $link }

    If this was not you, please call { $fraud } to report fraud.

    { $company }

mail-changed-online-subject = { $done } ({ $company })
mail-changed-online-text =
    Hello,

    Somebody was signed in to your account on our website. { $done }.

    You get this message at a contact that we already had on file. For your safety it shows none of your data.

    If this was you, there is nothing you need to do.

    This wasn't you? Tell us here, and we freeze your account:
    { $link }

    You can also report fraud by phone: { $fraud }.

    { $company }

## The first lines of the file of everything that is kept about a customer. In English the names of
## its parts, which programs read.

download-about =
    This is everything that { $company } keeps about you.
    "profile" is what is on file. "calls" are your calls: what happened on them while they were about you or you were speaking, and what was noted. "account_record" is what happened to your account outside of calls.
    Not in it: what you prove with, such as PINs and keys, which nobody could read out safely; and how we guard against fraud, which would help those who try it.
    Keep this file safe: with what is in it, somebody could pretend to be you elsewhere. Questions, or somebody else has fetched it? Call { $fraud }.

## The receipt of a call, in the portal. Link and explanation stand on a page that is in English.

receipt-link = Receipt
receipt-about = A receipt is a file with which you can show later, also without us, that there was this call, what you were asked to prove with, who took it and how it ended.
receipt-not-yet = The receipt of this call is not ready. It is there a minute after the end of the call: please try again then.
receipt-enough = Too many receipts were asked for from this account. Please try again in an hour.
receipt-frozen = Your account is frozen. Until that is over, no receipts are given out here. Please call us.

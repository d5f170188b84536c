# What is said on the telephone, and the phrases for actions.
# Sentences stay under twenty words; the key comes after the thing it is for.

weekday = { $n ->
    [1] Monday
    [2] Tuesday
    [3] Wednesday
    [4] Thursday
    [5] Friday
    [6] Saturday
   *[7] Sunday
}
month = { $n ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
}
day = { $weekday }, { $month } { $date }
# How the date sounds: what a recording says in its place.
date = { $n ->
    [1] first
    [2] second
    [3] third
    [4] fourth
    [5] fifth
    [6] sixth
    [7] seventh
    [8] eighth
    [9] ninth
    [10] tenth
    [11] eleventh
    [12] twelfth
    [13] thirteenth
    [14] fourteenth
    [15] fifteenth
    [16] sixteenth
    [17] seventeenth
    [18] eighteenth
    [19] nineteenth
    [20] twentieth
    [21] twenty-first
    [22] twenty-second
    [23] twenty-third
    [24] twenty-fourth
    [25] twenty-fifth
    [26] twenty-sixth
    [27] twenty-seventh
    [28] twenty-eighth
    [29] twenty-ninth
    [30] thirtieth
   *[31] thirty-first
}

# The + of a telephone number.
plus = plus

## Prompts, one message each.

# For a company whose name no recording says.
welcome-unnamed = Welcome.
hello-unnamed = Hello.
goodbye-unnamed = Thank you for calling.

welcome = Welcome to { $company }.
choose-language = For English, press { $key }.
recognised = We know the number you are calling from.
recognised-upcoming = We know the number you are calling from. If you are calling about the delivery due on { $day }, press 1. For anything else, press 2.
menu = When you are signed in on our website, you see a code for the phone. To enter that code, press 1. To enter your account number, press 2. To hear a code that you type on our website, press 3. To speak to an agent, press 0. For another language, press star.
enter-service-code = Please enter the code for the phone. You see it on our website when you are signed in. End with the hash or pound key.
enter-account-number = Please enter your account number. End with the hash or pound key. If you do not have it at hand, press 0, then the hash or pound key.
enter-postal-code = Please enter the digits of your postal code. End with the hash or pound key.
noted = Thank you, we have made a note of that.
enter-sms-code = We have just texted a code to the mobile number on file. Please enter it here. End with the hash or pound key.
enter-voice-code = We are ringing the number on file to give you a code. Please enter it here. End with the hash or pound key.
enter-totp = Please enter the code from your authenticator app. End with the hash or pound key.
enter-hotp = Please enter the code from your security token. End with the hash or pound key.
enter-pin = Please enter your PIN. End with the hash or pound key.
say-verbal-password = Please say your password for the phone. People near you can hear it. For another way to prove it is you, press any key.
enter-backup-code = Please enter one of the codes on your printed list that you have not used. End with the hash or pound key.
one-moment = One moment, please.
approve-in-portal = We have asked you on our website, where you are signed in. Type this code there: { $code }. Once more: { $code }.
approve-with-passkey = We have asked you on our website, where you are signed in. Please approve there with your passkey.
approve-at-provider = The sign-in of our website is asking you now. It shows this code: { $code }. Approve only if it is the same.
type-in-portal = Please sign in on our website and choose: code from the phone. Type this code there: { $code }. Once more: { $code }.
approve-help = We are waiting. To hear this again, press 1. For another way, press star. For an agent, press 0.
call-back = Hello, this is { $company }. You asked us to ring you. Press the key that our website shows now.
we-call = Hello, this is { $company }. One of our people would like to speak to you. When you are signed in on our website, you see there that it is us. To talk now, press 1. Otherwise just hang up.
proof-help = For another way to prove it is you, press star. For an agent, press 0, then the hash or pound key.
try-again = That was not accepted. Please try again.
no-more-tries = That was not accepted. No more tries are possible this way.
verified = Thank you, that was accepted.
step-up = Your agent is staying on the line. To { $action }, we need to check it is you. The agent cannot hear your keys.
back-to-agent = Thank you. You are going back to your agent now.
choose-music = Please choose what you hear while you wait. For calm music, press 1. For lively music, press 2. For classical music, press 3. For silence, press 4.
waiting = An agent will be with you soon. You will not have to repeat anything you entered.
waiting-specialist = A specialist will be with you soon. You will not have to repeat anything you entered.
connecting = You are being connected now.
nothing-heard = No key has reached us.
not-understood = That was not understood.
goodbye = Thank you for calling { $company }. Goodbye.
cannot-help = We are sorry, we cannot help you on this call. Thank you for calling, and goodbye.
nobody-free = We are sorry, nobody is free right now. Please call again later.
we-ring-back = For your safety, we are going to ring you at a number on file. Please hang up now and wait for our call. Goodbye.
ringing-back = Hello, this is { $company }. There was a call to us about your account, and we are ringing you back. When you are signed in on our website, you see there that it is us. To talk now, press 1. Otherwise just hang up.
online-only = We are sorry, nobody can take this call. When you are signed in on our website, you can do everything there. Goodbye.

# Voices. Whoever changes these words gives voice.consent_text in the configuration another name.
voice-phrase = My voice is my own, and today I lend it to you
voice-consent = We would like to know your voice, to notice when somebody else calls in your name. It never opens anything by itself. We keep what describes it, sealed, for a limited time. You can take it back at any time, on our website or with an agent. If you agree, press 1. If you do not, press 2. Then everything goes on as before.
voice-say = After the tone, please say: { voice-phrase }.
voice-say-again = We compare your voice. After the tone, please say: { voice-phrase }. For another way, press star.
voice-once-more = Thank you. Once more, please.
voice-no-speech = We could not hear you.
voice-too-short = That was too short.
voice-too-noisy = There was too much noise. Please go somewhere quieter, if you can.
voice-too-loud = That was too loud. Please hold the telephone a little further away.
voice-not-the-same = That did not sound like the time before. Please say the same words anew.
voice-thanks = Thank you.
voice-digits-too = Thank you. Now some digits, which are others every time, so that nobody gets far with a recording of you. To leave it at that, press star.
voice-digits = After the tone, please say these digits, with a short pause after each: { $digits }.
voice-not-apart = We could not tell the digits apart. Please make a short, clear pause after each.
voice-kept = Thank you. We know your voice now, and will tell you so in a message.
voice-as-you-like = As you like. Nothing changes.
voice-not-now = We leave it at that, and go on as ever.

## Calls that we make to the number on file.

call-code = Hello, this is { $company }. You are on the phone with us now to { $action }. Here is your code: { $code }. Once more: { $code }. Please enter it in your call with us. We never ask you to say it. If you are not on the phone with us, please call { $fraud }.
call-notice = Hello, this is { $company }. There was a phone call about your account. { $done }. If this was not you, please call { $fraud }.
call-online = Hello, this is { $company }. You asked by phone to { $action }. For your safety, this can only be done on our website, when you are signed in. If this was not you, please call { $fraud }.
call-changed-online = Hello, this is { $company }. Somebody was signed in to your account. { $done }. If this was not you, please call { $fraud }.

## What the caller wants, after "to": "we need to check it is you, to …".

action-start = prove it is you
action-view = look at details of your account
action-change = change something on your account
action-do = go on with your request
action-other = go on with your request
action-change-phone = change the phone number on your account
action-change-email = change the e-mail address on your account
action-change-address = change the postal address on your account
action-change-password = set a new password for your account
action-change-factors = change the security settings of your account
action-change-voice = have your voice known on the phone
action-do-cancel_order = cancel an order
action-do-end_freeze = lift the freeze on your account
action-do-close_account = close your account
action-do-redirect_parcel = redirect a parcel
action-do-request_refund = request a refund

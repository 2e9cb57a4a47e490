"""The login form: one page without scripts or other files, because nothing else is served before the login."""

from html import escape

_STYLE = """
:root { color-scheme: light dark; --ground: #f3f1ee; --card: #fff; --ink: #1c1c1b; --line: #d2cec7; --accent: #0d6452 }
@media (prefers-color-scheme: dark) { :root { --ground: #131312; --card: #272725; --ink: #f3f1ee; --line: #57554f } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--ground); color: var(--ink);
       font: 16px/1.4 system-ui, sans-serif }
form { box-sizing: border-box; width: min(22rem, 92vw); padding: 2rem; background: var(--card);
       border: 1px solid var(--line); border-radius: 12px }
h1 { margin: 0 0 1.2rem; font-size: 1.25rem }
label { display: block; margin: 0 0 1rem }
input { box-sizing: border-box; width: 100%; margin-top: .3rem; padding: .6rem; font: inherit; color: inherit;
        background: transparent; border: 1px solid var(--line); border-radius: 8px }
button { width: 100%; padding: .7rem; font: inherit; font-weight: 600; color: #fff; background: var(--accent);
         border: 0; border-radius: 8px; cursor: pointer }
p { margin: 0 0 1rem; color: #dc2626 }
"""


def login_page(*, action: str, asked: str, failed: bool) -> str:
    """HTML of the form.

    Args:
        action: Path that the form is sent to.
        asked: Path to go to afterwards.
        failed: Whether the last try was wrong.
    """
    message = '<p role="alert">Name or password is wrong.</p>' if failed else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title><style>{_STYLE}</style></head>
<body><form method="post" action="{escape(action)}">
<h1>Log in</h1>{message}
<input type="hidden" name="next" value="{escape(asked)}">
<label>Name<input name="username" autocomplete="username" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button>
</form></body></html>
"""

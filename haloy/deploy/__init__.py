"""From what runs to what should run.

Where things are:

  - Outside: L{interface} is what others may ask and what is asked of them; L{service}
    takes requests, L{asking} answers questions, L{status} says how an app is.
  - One deployment: L{queue} (one an app), L{conduct} (begin and end), L{plan} (its
    steps), L{run} (carries them out), L{progress} (how far it is), L{readiness}
    (healthy yet?), L{aftercare} (drain, remove), L{undo} (the way back), L{failure}
    (what is told of it), L{phases} (how long each took), L{journal} (its log).
  - Its image: L{obtain}, L{pulling}, L{uploads}, L{assembly}, L{images}, L{space}.
  - Its containers: L{containers} (what they are made from), L{instances} (which
    haloyd made them), L{networks}.
  - What is there and what is wrong: L{discovery} reads labels, L{situation} says what
    that is a reason for, L{reconcile} looks at all apps, L{repair} mends one, L{ladder}
    says when it is tried again.
  - Earlier ones: L{history}, L{rollback}, L{retention} and L{pruning} (what goes).
  - L{stopping}: an app is stopped on purpose.
"""

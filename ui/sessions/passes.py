"""Signed passes: a guest's cookie, an invitation that works once, a host's cookie."""

from __future__ import annotations

import hmac
import uuid

from itsdangerous import BadData, URLSafeTimedSerializer

from ui.identity import Signer

GUEST_COOKIE = "inkling_guest"
HOST_COOKIE = "inkling_host"
PASS_S = 30 * 24 * 3600
INVITATION_S = 6 * 3600
LINK_S = 15 * 60


class Passes:
    """Creates and verifies passes with this installation's secret."""

    def __init__(self, signer: Signer, password: str = "") -> None:
        self._serializer = URLSafeTimedSerializer(signer.secret_for("demo sessions"))
        made = signer.secret_for("host password")
        self.password = password or "-".join((made[:4], made[4:8], made[8:12]))
        self._epoch = signer.secret_for(f"host with {self.password}")

    def invitation(self, session_id: str) -> str:
        """An invitation for one new guest."""
        return self._dump("invitation", [session_id, uuid.uuid4().hex])

    def invited(self, session_id: str, invitation: str) -> str | None:
        """The guest id in a valid invitation to this session, else None."""
        return self._second("invitation", invitation, session_id, INVITATION_S)

    def guest(self, session_id: str, guest_id: str) -> str:
        """The cookie value for a guest of this session."""
        return self._dump("guest", [session_id, guest_id])

    def guest_of(self, session_id: str, cookie: str | None) -> str | None:
        """The guest id in a cookie that we signed for this session, else None."""
        return self._second("guest", cookie, session_id, PASS_S)

    def is_password(self, text: str) -> bool:
        return hmac.compare_digest(text.strip().encode(), self.password.encode())

    def host(self) -> str:
        """The cookie value for a host; changing the password invalidates it."""
        return self._dump("host", ["host", self._epoch])

    def is_host(self, cookie: str | None) -> bool:
        return self._second("host", cookie, "host", PASS_S) == self._epoch

    def link(self) -> str:
        """A token that signs in the host's other device, valid for 15 minutes."""
        return self._dump("link", ["link", self._epoch])

    def is_link(self, text: str) -> bool:
        return self._second("link", text, "link", LINK_S) == self._epoch

    def _dump(self, purpose: str, value: list[str]) -> str:
        return str(self._serializer.dumps(value, salt=purpose))

    def _second(self, purpose: str, text: str | None, first: str, max_age_s: int) -> str | None:
        try:
            value = self._serializer.loads(text or "", salt=purpose, max_age=max_age_s)
        except BadData:
            return None
        is_ours = isinstance(value, list) and len(value) == 2 and value[0] == first
        return str(value[1]) if is_ours else None


def guest_cookie(session_id: str) -> str:
    """The cookie's name: one phone may be in several sessions."""
    return f"{GUEST_COOKIE}_{session_id[:8]}"

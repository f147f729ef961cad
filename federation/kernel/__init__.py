"""What a protocol is made of: errors, secrets, the cipher suite, messages, envelopes, roles, the manifest, sessions, and participants.

Read role, codec, envelope, manifest, session, journal, participant.
"""

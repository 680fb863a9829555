package storage

// Names of events. What the fields of each hold is said in docs/events.md. An
// event says that something changed: a call that fails, is refused or changes
// nothing writes none.
const (
	EventUserCreated        EventName = "user.created"         // a person signed in who was unknown
	EventUserAdded          EventName = "user.added"           // a person was invited
	EventUserDisabled       EventName = "user.disabled"        // a person may not sign in any more
	EventUserEnabled        EventName = "user.enabled"         // a disabled person may sign in again
	EventUserGroups         EventName = "user.groups"          // a person is in other groups
	EventUserProfile        EventName = "user.profile"         // a person has another name or language
	EventUserAddressChanged EventName = "user.address-changed" // a person signs in with another address
	EventUserDeleted        EventName = "user.deleted"         // a person is gone, with all that was kept about them

	EventLogin       EventName = "login"        // a link or a code was proven
	EventLoginNotMe  EventName = "login.not-me" // "This wasn't me" was pressed on a link
	EventLoginBurned EventName = "login.burned" // the last try for a code was a wrong one
	EventMailMuted   EventName = "mail.muted"   // the owner of an address wants no mails for a while

	EventSessionEnded EventName = "session.ended" // a live session was ended

	EventAppSignedIn     EventName = "app.signed-in"    // a session signed in to a client for the first time
	EventAppRemoved      EventName = "app.removed"      // what a client was allowed was taken back
	EventConsentGiven    EventName = "consent.given"    // a person allowed a client something
	EventGrantRevoked    EventName = "grant.revoked"    // a client gave its tokens back
	EventCodeReplayed    EventName = "code.replayed"    // a used code came again; what it gave is revoked
	EventRefreshReplayed EventName = "refresh.replayed" // a used refresh token came again; its grant is revoked
	EventDeviceAllowed   EventName = "device.allowed"   // a person let a device sign in as them

	EventClientAdded   EventName = "client.added"   // a client was added, or registered itself
	EventClientChanged EventName = "client.changed" // what is kept of a client was replaced
	EventClientRemoved EventName = "client.removed" // a client is gone, with its grants and consents

	EventKeyAdded   EventName = "key.added"   // there is a new signing key
	EventKeyRetired EventName = "key.retired" // a signing key is gone: nothing that it signed counts any more
)

// EventNames are the names of all events.
func EventNames() []EventName {
	return []EventName{
		EventUserCreated, EventUserAdded, EventUserDisabled, EventUserEnabled, EventUserGroups, EventUserProfile, EventUserAddressChanged, EventUserDeleted,
		EventLogin, EventLoginNotMe, EventLoginBurned, EventMailMuted,
		EventSessionEnded,
		EventAppSignedIn, EventAppRemoved, EventConsentGiven, EventGrantRevoked, EventCodeReplayed, EventRefreshReplayed, EventDeviceAllowed,
		EventClientAdded, EventClientChanged, EventClientRemoved,
		EventKeyAdded, EventKeyRetired,
	}
}

// Most is how many events are wanted at most.
func (f EventFilter) Most() int {
	if f.Limit <= 0 {
		return 100
	}
	return f.Limit
}

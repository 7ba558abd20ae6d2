use crate::auth::Identity;
use crate::clock::Timestamp;
use crate::event::{Platform, Role};
use crate::fact::FactKind;
use crate::ids::JobId;
use crate::membership::ConversationRef;
use crate::people::PeopleError;
use crate::store::{DeviceRecord, JobRecord, JobState};
use crate::testing::{World, person};

async fn finished(world: &World, id: JobId) -> JobRecord {
    for _ in 0..10_000 {
        let job = world.app.people.job(id).await.unwrap();
        if !job.state.is_open() {
            return job;
        }
        tokio::task::yield_now().await;
    }
    panic!("the job does not end");
}

#[tokio::test]
async fn an_erased_person_is_gone_and_cannot_come_back_by_an_old_token() {
    let world = World::new(|_| {}).await;
    let client = world.connect(person(1)).await;
    let kept = world.write(person(1), person(2), "hello").await;
    let device = DeviceRecord {
        user: person(1),
        device_id: "phone".into(),
        platform: Platform::Ios,
        name: None,
        app_version: None,
        push_token: Some("secret".into()),
        voip_token: None,
        last_seen: Timestamp(0),
    };
    let people = &world.app.people;
    let shown = people.register(device.clone()).await.unwrap();
    assert!(shown.has_push && !shown.has_voip);
    people.set_disabled(person(1), true).await.unwrap();
    assert!(!people.devices(person(1)).await.unwrap()[0].has_push, "nothing is pushed meanwhile");
    let late = people.register(DeviceRecord { device_id: "late".into(), ..device }).await;
    assert!(matches!(late, Err(PeopleError::Disabled)));
    let job = people.erase(person(1), false).await.unwrap();
    assert!(client.session.is_closed());
    assert_eq!(finished(&world, job).await.state, JobState::Done);
    assert!(people.devices(person(1)).await.unwrap().is_empty());
    let facts = world.app.store.facts_after(0, 10).await.unwrap().facts;
    let kinds: Vec<_> = facts.iter().map(|it| (it.fact.kind, it.fact.user)).collect();
    let user = Some(person(1));
    let disabled = (FactKind::UserDisabled, user);
    assert_eq!(kinds, [disabled, disabled, (FactKind::UserErased, user)]);
    let left = people.person(person(1)).await.unwrap();
    assert_eq!((left.name, left.uid.as_str()), (None, "erased:1"));
    let token = Identity {
        user_id: person(1),
        uid: Some("u1".into()),
        email: Some("a@example.org".into()),
        name: Some("Person 1".into()),
        role: Role::User,
        user_type: None,
        issued_at: None,
        expires_at: Timestamp(i64::MAX),
    };
    assert!(matches!(people.admit(&token).await, Err(PeopleError::Disabled)));
    assert_eq!(people.person(person(1)).await.unwrap().name, None);
    let named = ConversationRef::With(person(1));
    let page = world.app.chat.page(person(2), named, None, None, None).await.unwrap();
    assert_eq!(page.messages[0].message_id, kept.message_id);
    assert_eq!(page.messages[0].content, "hello", "messages go only when that is asked for");
}

#[tokio::test]
async fn erased_messages_leave_tombstones_with_their_numbers() {
    let world = World::new(|_| {}).await;
    for n in 0..6 {
        let (from, to) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
        world.write(person(from), person(to), "secret").await;
    }
    let job = world.app.people.erase(person(1), true).await.unwrap();
    let over = finished(&world, job).await;
    assert_eq!((over.state, over.left), (JobState::Done, 0));
    let named = ConversationRef::With(person(1));
    let page = world.app.chat.page(person(2), named, None, None, None).await.unwrap();
    for message in page.messages {
        let erased = message.from_user_id == person(1);
        assert_eq!(message.content.is_empty(), erased, "{}", message.seq);
        assert_eq!(message.deleted_at.is_some(), erased);
    }
}

#[tokio::test]
async fn a_job_that_a_restart_cut_short_goes_on() {
    let world = World::new(|_| {}).await;
    world.write(person(1), person(2), "secret").await;
    let id = JobId::new(uuid::Uuid::new_v4());
    let now = world.clock.now();
    let job = JobRecord {
        id,
        user: person(1),
        messages: true,
        state: JobState::Queued,
        total: 0,
        left: 0,
        position: None,
        error: None,
        created_at: now,
        updated_at: now,
    };
    world.app.store.save_job(job).await.unwrap();
    world.app.people.resume_jobs().await.unwrap();
    assert_eq!(finished(&world, id).await.state, JobState::Done);
    let unknown = world.app.people.job(JobId::new(uuid::Uuid::new_v4())).await;
    assert!(matches!(unknown, Err(PeopleError::UnknownJob)));
    let nobody = world.app.people.erase(person(4711), true).await;
    assert!(matches!(nobody, Err(PeopleError::Unknown)));
}

BEGIN TRANSACTION;
CREATE TABLE jobs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	source TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	attempt INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	worker TEXT, 
	lease_until BIGINT, 
	retry_at BIGINT, 
	transcript TEXT, 
	metrics TEXT, 
	analysis TEXT, 
	error TEXT
);
INSERT INTO "jobs" VALUES(1,'call1.wav','processing',1,1767323045678901,1767323046678901,'a:1',1767323076678901,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(2,'call2.wav','uploaded',0,1767323045678901,1767323045678901,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(3,'call3.wav','done',1,1767323045678901,1767323046678901,NULL,NULL,NULL,'{"segments": [{"id": 0, "start": 0.5, "end": 1.25, "text": "grüß dich 👋", "words": [{"start": 0.5, "end": 1.25, "text": "grüß", "probability": 0.1}], "channel": 1, "speaker": "Speaker01"}], "duration": 2.0, "model": "check", "language": "de", "report": null}','{"total_conversation_duration": 2.0, "talk_time": 0.75, "speech_time": 0.75, "overlap_time": 0.0, "non_talk_time": 1.25, "non_talk_instances": [], "interruptions": [], "speakers": []}','{"summary": [{"text": "''); DROP TABLE jobs; --", "segment_ids": [0]}], "key_points": [], "conversation_type": "other", "language": null, "model": "check", "clean_lines": [], "report": null}',NULL);
INSERT INTO "jobs" VALUES(4,'call4.wav','error',1,1767323045678901,1767323046678901,NULL,NULL,NULL,NULL,NULL,NULL,'it broke');
INSERT INTO "jobs" VALUES(5,'call5.wav','processing',1,1767323045678901,1767323046678901,NULL,NULL,1767323106678901,NULL,NULL,NULL,'it broke');
INSERT INTO "jobs" VALUES(6,'call6.wav','processing',0,1767323045678901,1767323045678901,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE voicepipe_schema (
	version INTEGER NOT NULL
);
INSERT INTO "voicepipe_schema" VALUES(1);
CREATE INDEX ix_jobs_status_id ON jobs (status, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',7);
COMMIT;

"""Slow and failing migrations: the fault happens inside the migration's own transaction."""

import time

from stand_in import steering, work


def install():
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.migration import Migration

    real_apply = Migration.apply
    real_migrate = MigrationExecutor.migrate

    def apply(self, project_state, schema_editor, collect_sql=False):
        if not collect_sql:
            work.render(project_state)
            _disturb(f"{self.app_label}.{self.name}", schema_editor)
        return real_apply(self, project_state, schema_editor, collect_sql)

    def migrate(self, *args, **kwargs):
        wanted = steering.now().get("migration_fail")
        if wanted and tuple(wanted.split(".")) not in self.loader.graph.nodes:
            raise steering.Misuse(f"migration_fail: there is no migration {wanted}")
        return real_migrate(self, *args, **kwargs)

    Migration.apply = apply
    MigrationExecutor.migrate = migrate


def _disturb(name, schema_editor):
    faults = steering.now()
    seconds = faults.get("migration_seconds", 0)
    if seconds:
        # In the server where there is one: killing the client leaves a busy backend and its
        # locks behind, as a real migration does.
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute("SELECT pg_sleep(%s)", [seconds])
        else:
            time.sleep(seconds)
    if faults.get("migration_fail") == name:
        schema_editor.execute("ALTER TABLE stand_in_no_such_table ADD COLUMN wanted integer")

"""What a stand-in's worker does differently from a plain Celery worker."""

# How long a new worker waits for others to say hello: a second in Celery, a third of its
# start here, and always in vain where nobody revokes tasks.
MINGLE_SECONDS = 0.05


def prepare(steering):
    from celery.signals import worker_ready
    from celery.worker.consumer.mingle import Mingle
    from celery.worker.control import Panel

    def send_hello(self, consumer):
        inspect = consumer.app.control.inspect(timeout=MINGLE_SECONDS, connection=consumer.connection)
        replies = inspect.hello(consumer.hostname, consumer.controller.state.revoked._data) or {}
        replies.pop(consumer.hostname, None)
        return replies

    real_ping = Panel.data["ping"]

    def ping(state, **kwargs):
        # Stuck here, the worker neither answers nor takes tasks: that is what hangs really.
        steering.wait_while_hanging()
        _wait_while_unhealthy(steering)
        return real_ping(state, **kwargs)

    Mingle.send_hello = send_hello
    Panel.data["ping"] = ping
    worker_ready.connect(_ready, weak=False)


def _ready(**kwargs):
    from stand_in.process import reap_recorder

    reap_recorder()


def _wait_while_unhealthy(steering):
    import time

    while steering.is_unhealthy():
        time.sleep(0.1)

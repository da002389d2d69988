//! Celery's workers and its beat work again.

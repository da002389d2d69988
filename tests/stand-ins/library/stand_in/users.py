"""Users for the seed commands."""

from django.contrib.auth.models import User


def ensure_user(username, password):
    user, _ = User.objects.get_or_create(username=username, defaults={"email": username})
    if password and not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=("password",))
    return user

"""/api/v2/workspace.json"""

from temba.api.v2.answers import respond


def read(request):
    org = request.org
    languages = org.flow_languages or []
    return respond(
        {
            "uuid": org.uuid,
            "name": org.name,
            "country": org.default_country_code,
            "languages": languages,
            "primary_language": languages[0] if languages else None,
            "timezone": org.timezone,
            "date_style": org.DATE_STYLES.get(org.date_format),
            "credits": org.credits(),
            "anon": org.is_anon,
        }
    )


ENDPOINT = {"permission": "org_api", "throttle": "v2", "methods": {"GET": read}}

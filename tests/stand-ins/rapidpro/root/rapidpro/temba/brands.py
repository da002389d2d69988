"""8.0 looks for the brand of every page. With the settings of Praekelt's image (BRANDING and
DEFAULT_BRAND of 7.4) it never finds one, and asks itself for the default one again and again."""

from stand_in import steering


class BrandMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if steering.now().get("brand_fault"):
            raise RecursionError("maximum recursion depth exceeded while calling a Python object")
        return self.get_response(request)

document.querySelectorAll("input[name=username]").forEach(function (input) { input.focus(); });
